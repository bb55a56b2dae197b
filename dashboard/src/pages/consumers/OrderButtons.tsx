import { memo } from "react";
import { useAccess } from "../../app/access";
import { usePending } from "../../app/orders";
import { Button } from "../../ui/Button";
import { pause, restart, resume } from "./orders";
import css from "./OrderButtons.module.css";

/** Pause or resume, and restart. Hidden from whoever may not. */
export const OrderButtons = memo(function OrderButtons({ id, paused, generation }: { id: string; paused: boolean; generation: number | null }) {
  const { operate } = useAccess();
  const busy = usePending(id) !== undefined;
  if (!operate) return null;
  return (
    <span className={css.orders}>
      {paused ? (
        <Button look="quiet" icon="play" busy={busy} aria-label={`Resume ${id}`} onClick={() => void resume(id)}>
          Resume
        </Button>
      ) : (
        <Button look="quiet" icon="pause" busy={busy} aria-label={`Pause ${id}`} onClick={() => void pause(id)}>
          Pause
        </Button>
      )}
      <Button look="quiet" icon="restart" busy={busy} aria-label={`Restart ${id}`} onClick={() => void restart(id, generation)} />
    </span>
  );
});
