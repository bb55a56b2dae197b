import { createContext, use } from "react";
import type { Session } from "../api/types";

export interface Access {
  session: Session;
  /** Whether this person may give orders. The server checks again. */
  operate: boolean;
  /** Why not, for people. */
  why: string | null;
}

/** What a session allows. */
export function accessOf(session: Session): Access {
  const why = session.read_only
    ? "This drover is read-only: it was started with --read-only."
    : !session.actions
      ? "Orders are switched off here."
      : session.role !== "operator"
        ? "You are logged in as a viewer; orders need the operator's token."
        : null;
  return { session, operate: why === null, why };
}

export const AccessContext = createContext<Access | null>(null);

/** Who looks at the page, and what they may do. */
export function useAccess(): Access {
  const access = use(AccessContext);
  if (!access) throw new Error("useAccess is called outside the frame");
  return access;
}
