import { useEffect, useRef } from "react";
import { Button } from "../ui/Button";
import { useShortcutList } from "./shortcuts";
import css from "./Help.module.css";

/** The keys of the page that is open. */
export function Help({ open, onClose }: { open: boolean; onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const shortcuts = useShortcutList();
  useEffect(() => {
    const element = dialog.current;
    if (open && !element?.open) element?.showModal();
    if (!open && element?.open) element.close();
  }, [open]);
  return (
    <dialog ref={dialog} className={css.help} aria-labelledby="help-title" onClose={onClose}>
      {open && (
        <>
          <header>
            <h2 id="help-title">Keyboard</h2>
            <Button look="quiet" icon="close" aria-label="Close" onClick={onClose} />
          </header>
          <dl>
            {shortcuts.map(({ keys, what }) => (
              <div key={keys}>
                <dt>
                  {keys.split(" ").map((key) => (
                    <kbd key={key}>{key}</kbd>
                  ))}
                </dt>
                <dd>{what}</dd>
              </div>
            ))}
          </dl>
        </>
      )}
    </dialog>
  );
}
