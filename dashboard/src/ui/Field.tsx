import { useId, type InputHTMLAttributes, type ReactNode, type SelectHTMLAttributes, type TextareaHTMLAttributes } from "react";
import css from "./Field.module.css";

interface Label {
  label: string;
  /** The label is for those who cannot see the place. */
  hidden?: boolean;
  hint?: ReactNode;
  problem?: string | null;
  className?: string | undefined;
}

function Around({ label, hidden, hint, problem, className, id, children }: Label & { id: string; children: ReactNode }) {
  return (
    <div className={`${css.field} ${className ?? ""}`}>
      <label htmlFor={id} className={hidden ? "sr" : css.label}>
        {label}
      </label>
      {children}
      {hint && !problem && (
        <p id={`${id}-hint`} className={css.hint}>
          {hint}
        </p>
      )}
      {problem && (
        <p id={`${id}-hint`} className={css.problem} role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

const described = (id: string, hint: ReactNode, problem: string | null | undefined) =>
  hint || problem ? { "aria-describedby": `${id}-hint`, "aria-invalid": problem ? true : undefined } : {};

/** A line of text or a number. */
export function TextField({ label, hidden = false, hint, problem = null, className, ...rest }: Label & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  return (
    <Around {...{ label, hidden, hint, problem, className, id }}>
      <input id={id} autoComplete="off" spellCheck={false} {...described(id, hint, problem)} {...rest} className={css.input} />
    </Around>
  );
}

/** One of several. */
export function SelectField({ label, hidden = false, hint, problem = null, className, children, ...rest }: Label & SelectHTMLAttributes<HTMLSelectElement>) {
  const id = useId();
  return (
    <Around {...{ label, hidden, hint, problem, className, id }}>
      <select id={id} {...described(id, hint, problem)} {...rest} className={css.input}>
        {children}
      </select>
    </Around>
  );
}

/** Several lines of text. */
export function AreaField({ label, hidden = false, hint, problem = null, className, ...rest }: Label & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  const id = useId();
  return (
    <Around {...{ label, hidden, hint, problem, className, id }}>
      <textarea id={id} spellCheck={false} {...described(id, hint, problem)} {...rest} className={`${css.input ?? ""} ${css.area ?? ""}`} />
    </Around>
  );
}
