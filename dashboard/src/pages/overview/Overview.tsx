import { Charts } from "./Charts";
import { Headline } from "./Headline";
import { Herd } from "./Herd";
import { Pipeline } from "./Pipeline";
import { Figures } from "./Figures";
import css from "./Overview.module.css";

/** Is everything well, and how fast does it go? */
export function Overview() {
  return (
    <div className={css.page}>
      <Headline />
      <Figures />
      <Charts />
      <Pipeline />
      <Herd />
    </div>
  );
}
