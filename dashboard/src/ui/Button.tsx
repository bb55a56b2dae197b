import type { ButtonHTMLAttributes } from "react";
import { Icon, type IconName } from "./Icon";
import css from "./Button.module.css";

interface Props extends ButtonHTMLAttributes<HTMLButtonElement> {
  icon?: IconName;
  /** `main` is what the form is for, `quiet` stands in rows. */
  look?: "plain" | "main" | "quiet";
  /** An order is on its way. The button keeps its place and cannot be pressed. */
  busy?: boolean;
}

/** A button. With an icon alone it needs an `aria-label`. */
export function Button({ icon, look = "plain", busy = false, children, className, ...rest }: Props) {
  const alone = children === undefined;
  return (
    <button
      type="button"
      {...rest}
      aria-disabled={busy || undefined}
      aria-busy={busy || undefined}
      onClick={busy ? undefined : rest.onClick}
      className={[css.button, css[look], alone && css.alone, busy && css.busy, className].filter(Boolean).join(" ")}
      title={rest.title ?? (alone ? rest["aria-label"] : undefined)}
    >
      {icon && <Icon name={icon} />}
      {children}
    </button>
  );
}

/** One of a few, all in sight. */
export function Choice<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: readonly (readonly [T, string])[]; onChange: (value: T) => void }) {
  return (
    <div className={css.choice} role="group" aria-label={label}>
      {options.map(([one, name]) => (
        <button key={one} type="button" aria-pressed={one === value} onClick={() => onChange(one)}>
          {name}
        </button>
      ))}
    </div>
  );
}
