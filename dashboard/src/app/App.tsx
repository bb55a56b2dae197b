import { QueryClientProvider, useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Route, Router, Switch } from "wouter";
import { historyQuery, sessionQuery } from "../api/queries";
import type { Session } from "../api/types";
import { live } from "../live/store";
import { clearSent } from "../pages/send/sent";
import { Button } from "../ui/Button";
import { Failure } from "../ui/Notice";
import { AccessContext, accessOf } from "./access";
import { basePath } from "./base";
import { Boundary } from "./Boundary";
import { Frame } from "./Frame";
import { feed, makeStream, StreamContext } from "./live";
import { Login } from "./Login";
import { NotFound } from "./NotFound";
import { PAGES } from "./pages";
import { ToastRegion } from "./ToastRegion";
import css from "./App.module.css";

/** The whole page. */
export function App({ client }: { client: QueryClient }) {
  return (
    <QueryClientProvider client={client}>
      <Router base={basePath()}>
        <Boundary>
          <Gate />
        </Boundary>
        <ToastRegion />
      </Router>
    </QueryClientProvider>
  );
}

/** Asks who is there before anything else is asked for. */
function Gate() {
  const session = useQuery(sessionQuery);
  if (session.data) {
    const closed = session.data.login_required && session.data.role === null;
    return closed ? <Login version={session.data.version} /> : <Inside session={session.data} />;
  }
  if (session.error) {
    return (
      <main className={css.alone}>
        <Failure what="drover cannot be reached" error={session.error} onRetry={() => void session.refetch()} />
      </main>
    );
  }
  return <main className={css.alone} aria-busy="true" aria-label="Loading" />;
}

function Inside({ session }: { session: Session }) {
  const client = useQueryClient();
  const [first] = useState(session.version);
  const [stream] = useState(() => makeStream(client));
  const access = useMemo(() => accessOf(session), [session]);
  useEffect(() => {
    stream.start();
    // What cannot be had is drawn from now on.
    const remember = () => void client.query(historyQuery(5)).then((history) => live.seed(history), () => undefined);
    remember();
    let { phase, snapshot } = live.state();
    const forget = live.subscribe(() => {
      const now = live.state();
      // After a pause there is a hole, and after a start of the server other rules may hold.
      if (now.phase === "live" && phase !== "live" && phase !== "connecting") remember();
      if (now.snapshot && snapshot && now.snapshot.started_at_ms !== snapshot.started_at_ms) void client.invalidateQueries({ queryKey: sessionQuery.queryKey });
      ({ phase, snapshot } = now);
    });
    return () => {
      forget();
      stream.stop();
      // For the next person who logs in.
      live.clear();
      feed.clear();
      clearSent();
      client.removeQueries({ predicate: ({ queryKey }) => queryKey[0] !== sessionQuery.queryKey[0] });
    };
  }, [stream, client]);
  return (
    <AccessContext value={access}>
      <StreamContext value={stream}>
        <Frame>
          {session.version !== first && (
            <p className={css.updated} role="status">
              drover was updated to {session.version}, and this page is of {first}. <Button onClick={() => window.location.reload()}>Reload</Button>
            </p>
          )}
          <Switch>
            {PAGES.map(({ pattern, component: Page }) => (
              <Route key={pattern} path={pattern}>
                <Boundary>
                  <Page />
                </Boundary>
              </Route>
            ))}
            <Route component={NotFound} />
          </Switch>
        </Frame>
      </StreamContext>
    </AccessContext>
  );
}
