import { useEffect, useState } from "react";
import { Button } from "./Button";

/** Copies a text. Says so on the button. */
export function Copy({ text, what }: { text: string; what: string }) {
  const [done, setDone] = useState<boolean | null>(null);
  useEffect(() => {
    if (done === null) return;
    const timer = setTimeout(() => setDone(null), 1500);
    return () => clearTimeout(timer);
  }, [done]);
  const name = done === null ? `Copy the ${what}` : done ? "Copied" : "Not copied";
  return <Button look="quiet" icon={done === null ? "copy" : done ? "ok" : "bad"} aria-label={name} onClick={() => void copy(text).then(setDone)} />;
}

/** Browsers give the clipboard only to https and localhost; elsewhere the old way is left. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const area = document.createElement("textarea");
    area.value = text;
    area.setAttribute("readonly", "");
    area.style.position = "fixed";
    area.style.opacity = "0";
    document.body.append(area);
    area.select();
    // eslint-disable-next-line @typescript-eslint/no-deprecated -- the only way without https
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
