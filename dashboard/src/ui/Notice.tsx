import type { ReactNode } from "react";
import { explain } from "../api/client";
import { Button } from "./Button";
import { Icon, type IconName } from "./Icon";
import { Ago } from "./Time";
import css from "./Notice.module.css";

/** Nothing is here: why, and what to do next. */
export function Empty({ title, children, icon = "info" }: { title: string; children?: ReactNode; icon?: IconName }) {
  return (
    <div className={css.notice}>
      <span className={css.mark}>
        <Icon name={icon} size={20} />
      </span>
      <p className={css.title}>{title}</p>
      {children && <div className={css.what}>{children}</div>}
    </div>
  );
}

/** Something could not be had: what, why, and again. */
export function Failure({ what, error, onRetry }: { what: string; error: unknown; onRetry?: () => void }) {
  return (
    <div className={`${css.notice} ${css.failure}`} role="alert">
      <span className={css.mark}>
        <Icon name="warn" size={20} />
      </span>
      <p className={css.title}>{what}</p>
      <p className={css.what}>{explain(error)}</p>
      {onRetry && <Button onClick={onRetry}>Try again</Button>}
    </div>
  );
}

/** What is shown is not the newest: since when, and why. */
export function NotUpdated({ error, atMs }: { error: unknown; atMs: number }) {
  return (
    <p className={css.old} role="status">
      <Icon name="warn" size={13} /> Not updated since <Ago ms={atMs} />: {explain(error)}
    </p>
  );
}

/** It will be here soon. Takes the room that it will need. */
export function Loading({ what, rows = 4 }: { what: string; rows?: number }) {
  return (
    <div className={css.loading} role="status">
      <span className="sr">Loading {what}</span>
      {Array.from({ length: rows }, (_, at) => (
        <span key={at} className={css.bar} aria-hidden="true" />
      ))}
    </div>
  );
}
