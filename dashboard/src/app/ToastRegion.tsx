import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { Text } from "../ui/Text";
import { dismiss, useToasts } from "./toasts";
import css from "./ToastRegion.module.css";

/** What came of orders, at the edge of the screen, and read out. */
export function ToastRegion() {
  const toasts = useToasts();
  return (
    <div className={css.region} role="status" aria-live="polite" aria-relevant="additions">
      {toasts.map(({ n, tone, text }) => (
        <div key={n} className={`${css.toast ?? ""} ${css[tone] ?? ""}`}>
          <Icon name={tone} />
          <p>
            <Text value={text} limit={400} />
          </p>
          <Button look="quiet" icon="close" aria-label="Dismiss" onClick={() => dismiss(n)} />
        </div>
      ))}
    </div>
  );
}
