import { useId, type ReactNode } from "react";
import css from "./Panel.module.css";

interface Props {
  title: ReactNode;
  /** What stands at the right of the title. */
  tools?: ReactNode;
  /** No space around the content, for tables. */
  flush?: boolean;
  className?: string | undefined;
  children: ReactNode;
}

/** A part of a page with its heading. */
export function Panel({ title, tools, flush = false, className, children }: Props) {
  const id = useId();
  return (
    <section className={`${css.panel} ${className ?? ""}`} aria-labelledby={id}>
      <header className={css.head}>
        <h2 id={id}>{title}</h2>
        {tools && <div className={css.tools}>{tools}</div>}
      </header>
      <div className={flush ? css.flush : css.body}>{children}</div>
    </section>
  );
}
