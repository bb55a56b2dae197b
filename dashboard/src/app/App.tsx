import { QueryClientProvider, useQuery, useQueryClient, type QueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useState } from "react";
import { Route, Router, Switch } from "wouter";
import { historyQuery, sessionQuery } from "../api/queries";
import type { Session } from "../api/types";
import { live } from "../live/store";
import { Failure } from "../ui/Notice";
import { AccessContext, accessOf } from "./access";
import { basePath } from "./base";
import { Boundary } from "./Boundary";
import { Frame } from "./Frame";
import { makeStream, StreamContext } from "./live";
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
  const [stream] = useState(() => makeStream(client));
  const access = useMemo(() => accessOf(session), [session]);
  useEffect(() => {
    stream.start();
    // What cannot be had is drawn from now on.
    client.query(historyQuery(5)).then((history) => live.seed(history), () => undefined);
    return () => {
      stream.stop();
      live.clear();
    };
  }, [stream, client]);
  return (
    <AccessContext value={access}>
      <StreamContext value={stream}>
        <Frame>
          <Boundary>
            <Switch>
              {PAGES.map(({ pattern, component }) => (
                <Route key={pattern} path={pattern} component={component} />
              ))}
              <Route component={NotFound} />
            </Switch>
          </Boundary>
        </Frame>
      </StreamContext>
    </AccessContext>
  );
}
