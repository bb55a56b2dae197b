import { Link } from "wouter";
import { Empty } from "../ui/Notice";

/** An address that is none of ours. */
export function NotFound() {
  return (
    <Empty title="There is no such page" icon="search">
      <p>
        Go to the <Link href="/">overview</Link>, or press <kbd>?</kbd> for a list of what is here.
      </p>
    </Empty>
  );
}
