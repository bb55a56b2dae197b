import { useState } from "react";
import { useAccess } from "../../app/access";
import { useSnapshot } from "../../live/store";
import { Button } from "../../ui/Button";
import { AreaField, SelectField, TextField } from "../../ui/Field";
import type { IconName } from "../../ui/Icon";
import { Icon } from "../../ui/Icon";
import { objectProblem } from "../../ui/json";
import { Empty } from "../../ui/Notice";
import { Panel } from "../../ui/Panel";
import { Burst } from "./Burst";
import { Followed } from "./Followed";
import { sendEvent } from "./sent";
import css from "./Send.module.css";

const NO_TOPICS: string[] = [];

/** Makes events, and follows each until it is stored or a dead letter. */
export function Send() {
  const { operate, why } = useAccess();
  const topics = useSnapshot((all) => all.topics, NO_TOPICS);
  const [topic, setTopic] = useState("");
  if (!operate) {
    return (
      <Panel title="Send">
        <Empty title="You cannot send events here" icon="send">
          <p>{why}</p>
        </Empty>
      </Panel>
    );
  }
  const to = topic === "" ? {} : { topic };
  return (
    <div className={css.page}>
      <div className={css.column}>
        <Panel
          title="Actions of a user"
          tools={
            topics.length > 1 && (
              <SelectField label="Topic" hidden value={topic} onChange={({ target }) => setTopic(target.value)}>
                {topics.map((one, at) => (
                  <option key={one} value={at === 0 ? "" : one}>
                    {one}
                  </option>
                ))}
              </SelectField>
            )
          }
        >
          <Actions to={to} />
        </Panel>
        <Panel title="A message of your own">
          <Custom to={to} />
        </Panel>
        <Panel title="A burst">
          <Burst to={to} />
        </Panel>
      </div>
      <div className={css.followed}>
        <Followed />
      </div>
    </div>
  );
}

interface To {
  topic?: string;
}

interface Action {
  name: string;
  icon: IconName;
  says: string;
  event: Record<string, unknown>;
  /** Only where drills are allowed. */
  drill?: boolean;
}

const ACTIONS: readonly Action[] = [
  { name: "Page view", icon: "page", says: "event_type page_view", event: { event_type: "page_view", element_id: "home_page" } },
  { name: "Button click", icon: "click", says: "event_type button_click", event: { event_type: "button_click", element_id: "checkout_btn" } },
  { name: "Form submit", icon: "form", says: "event_type form_submit", event: { event_type: "form_submit", element_id: "signup_form" } },
  { name: "Slow event", icon: "slow", says: "takes its consumer two seconds", event: { event_type: "slow_event", element_id: "report", delay_seconds: 2 }, drill: true },
  { name: "Failing event", icon: "bad", says: "ends as a dead letter", event: { event_type: "failing_event", element_id: "report", should_fail: true }, drill: true },
];

function Actions({ to }: { to: To }) {
  const { session } = useAccess();
  const [user, setUser] = useState("user_0042");
  const send = ({ name, event }: Action) =>
    void sendEvent(name, {
      ...to,
      ...(user !== "" && { key: user }),
      event: { user_id: user, ...event, timestamp: new Date().toISOString() },
    });
  return (
    <>
      <TextField label="User" className={css.user} value={user} maxLength={200} hint="It is the key too, so that the events of a user keep their order." onChange={({ target }) => setUser(target.value)} />
      <ul className={css.actions}>
        {ACTIONS.map((action) => {
          const barred = action.drill === true && !session.drills;
          return (
            <li key={action.name}>
              <button type="button" className={css.action} disabled={barred} onClick={() => send(action)}>
                <Icon name={action.icon} size={18} />
                <span className={css.name}>{action.name}</span>
                <span className={css.says}>{barred ? "only where drills are allowed" : action.says}</span>
              </button>
            </li>
          );
        })}
      </ul>
    </>
  );
}

const EXAMPLE = `{
  "user_id": "user_0042",
  "event_type": "custom",
  "element_id": "note",
  "message": "hello"
}`;

function Custom({ to }: { to: To }) {
  const [text, setText] = useState(EXAMPLE);
  const [key, setKey] = useState("");
  const [raw, setRaw] = useState(false);
  const problem = raw ? null : objectProblem(text);
  return (
    <form
      className={css.custom}
      onSubmit={(event) => {
        event.preventDefault();
        if (problem !== null) return;
        const message = raw ? { value: text } : { event: JSON.parse(text) as Record<string, unknown> };
        void sendEvent(raw ? "Raw message" : "Custom message", { ...to, ...(key !== "" && { key }), ...message });
      }}
    >
      <AreaField label="Message" value={text} problem={problem} onChange={({ target }) => setText(target.value)} />
      <div className={css.line}>
        <TextField label="Key" placeholder="the user" value={key} onChange={({ target }) => setKey(target.value)} />
        <label className={css.check}>
          <input type="checkbox" checked={raw} onChange={({ target }) => setRaw(target.checked)} />
          <span>
            Send as it stands, JSON or not <span className={css.says}>to see a dead letter</span>
          </span>
        </label>
        <Button type="submit" look="main" icon="send" disabled={problem !== null}>
          Send
        </Button>
      </div>
    </form>
  );
}
