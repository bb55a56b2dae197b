import { useState } from "react";
import { Button } from "../../ui/Button";
import { TextField } from "../../ui/Field";
import { count, duration, plural } from "../../ui/format";
import { sendBurst } from "./sent";
import css from "./Burst.module.css";

/** The server's limits. */
const MOST = 10_000;
const FASTEST = 2_000;

const within = (value: number, least: number, most: number) => Number.isFinite(value) && value >= least && value <= most;

/** Many events at once, some of them broken. */
export function Burst({ to }: { to: { topic?: string } }) {
  const [many, setMany] = useState("500");
  const [rate, setRate] = useState("200");
  const [poison, setPoison] = useState("2");
  const [busy, setBusy] = useState(false);
  const size = Number(many);
  const perSecond = Number(rate);
  const share = Number(poison);
  const wrong = {
    many: within(size, 1, MOST) ? null : `1 to ${count(MOST)}`,
    rate: within(perSecond, 1, FASTEST) ? null : `1 to ${count(FASTEST)}`,
    poison: within(share, 0, 100) ? null : "0 to 100",
  };
  const ready = !wrong.many && !wrong.rate && !wrong.poison;
  return (
    <form
      className={css.burst}
      onSubmit={(event) => {
        event.preventDefault();
        if (!ready || busy) return;
        setBusy(true);
        const what = `${plural(size, "event")} at ${count(perSecond)} / s${share > 0 ? `, ${share} % broken` : ""}`;
        void sendBurst(what, { ...to, count: Math.round(size), rate_per_s: Math.round(perSecond), poison_ratio: share / 100 }).finally(() => setBusy(false));
      }}
    >
      <TextField label="Events" type="number" min={1} max={MOST} required value={many} problem={wrong.many} onChange={({ target }) => setMany(target.value)} />
      <TextField label="A second" type="number" min={1} max={FASTEST} required value={rate} problem={wrong.rate} onChange={({ target }) => setRate(target.value)} />
      <TextField label="Broken, in %" type="number" min={0} max={100} step="any" required value={poison} problem={wrong.poison} onChange={({ target }) => setPoison(target.value)} />
      <Button type="submit" look="main" icon="burst" busy={busy} disabled={!ready}>
        Start
      </Button>
      <p className={css.hint}>{ready ? `Takes about ${duration(Math.max(1, size / perSecond))}. Broken ones become dead letters; nothing stops for them.` : " "}</p>
    </form>
  );
}
