import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { Link, matchRoute, useLocation, useRouter } from "wouter";
import { remove } from "../api/client";
import { sessionQuery } from "../api/queries";
import { useSnapshot } from "../live/store";
import { Button } from "../ui/Button";
import { Icon } from "../ui/Icon";
import { Pill } from "../ui/Pill";
import { Text } from "../ui/Text";
import { useAccess } from "./access";
import { Brand } from "./Brand";
import { Help } from "./Help";
import { LiveBadge } from "./LiveBadge";
import { PAGES, type Page } from "./pages";
import { startShortcuts, useShortcuts } from "./shortcuts";
import { nextTheme, useTheme } from "./theme";
import { toastError } from "./toasts";
import css from "./Frame.module.css";

/** What stands around every page: navigation, connection, role, theme, keyboard. */
export function Frame({ children }: { children: ReactNode }) {
  const { parser } = useRouter();
  const [location, navigate] = useLocation();
  const [help, setHelp] = useState(false);
  const [menu, setMenu] = useState(false);
  const main = useRef<HTMLElement>(null);
  const page = PAGES.find(({ pattern }) => matchRoute(parser, pattern, location)[0]);

  useEffect(startShortcuts, []);
  useEffect(() => {
    document.title = page ? `${page.title} · drover` : "drover";
  }, [page]);
  useShortcuts(
    useMemo(
      () => [
        ...PAGES.map(({ key, title, path }) => ({ keys: `g ${key}`, what: `Go to ${title}`, run: () => navigate(path) })),
        { keys: "t", what: "Theme: system, light, dark", run: nextTheme },
        { keys: "?", what: "This list", run: () => setHelp((open) => !open) },
      ],
      [navigate],
    ),
  );

  return (
    <div className={css.frame}>
      <a className={css.skip} href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        Skip to the content
      </a>
      <aside className={css.side} data-open={menu} aria-label="This drover">
        <Link href="/" className={css.home} aria-label="drover, overview" onClick={() => setMenu(false)}>
          <Brand />
        </Link>
        <nav aria-label="Pages" id="pages">
          <ul className={css.nav}>
            {PAGES.map((one) => (
              <NavItem key={one.path} page={one} current={one === page} onGo={() => setMenu(false)} />
            ))}
          </ul>
        </nav>
        <Where />
      </aside>
      <header className={css.top}>
        <Button
          look="quiet"
          icon={menu ? "close" : "menu"}
          className={css.menu}
          aria-label="Pages"
          aria-expanded={menu}
          aria-controls="pages"
          onClick={() => setMenu((open) => !open)}
        />
        <h1 className={css.title}>{page?.title ?? "Not found"}</h1>
        <div className={css.status}>
          <LiveBadge />
          <Role />
          <ThemeButton />
          <Button look="quiet" icon="help" aria-label="Keyboard shortcuts" onClick={() => setHelp(true)} />
        </div>
      </header>
      <main id="main" ref={main} tabIndex={-1} className={css.main}>
        {children}
      </main>
      <Help open={help} onClose={() => setHelp(false)} />
    </div>
  );
}

function NavItem({ page, current, onGo }: { page: Page; current: boolean; onGo: () => void }) {
  return (
    <li>
      <Link href={page.path} className={css.link} aria-current={current ? "page" : undefined} onClick={onGo}>
        <Icon name={page.icon} />
        {page.title}
      </Link>
    </li>
  );
}

/** Which process this is. */
function Where() {
  const group = useSnapshot(({ group }) => group, null);
  const replica = useSnapshot(({ replica_id }) => replica_id, null);
  const store = useSnapshot(({ store }) => store, null);
  const { session } = useAccess();
  return (
    <dl className={css.where}>
      <dt>Group</dt>
      <dd>
        <Text value={group} limit={80} />
      </dd>
      <dt>Replica</dt>
      <dd>
        <Text value={replica} />
      </dd>
      <dt>Store</dt>
      <dd>
        <Text value={store} />
      </dd>
      <dt>Version</dt>
      <dd>{session.version}</dd>
    </dl>
  );
}

function Role() {
  const { session, operate, why } = useAccess();
  const client = useQueryClient();
  const leave = () =>
    remove("session").then(
      () => client.invalidateQueries({ queryKey: sessionQuery.queryKey }),
      (error: unknown) => toastError("You were not logged out", error),
    );
  return (
    <>
      {!operate && (
        <Pill tone="idle" title={why ?? ""}>
          {session.read_only ? "read-only" : (session.role ?? "viewer")}
        </Pill>
      )}
      {operate && session.login_required && <Pill tone="info">operator</Pill>}
      {session.login_required && <Button look="quiet" icon="leave" aria-label="Log out" onClick={() => void leave()} />}
    </>
  );
}

function ThemeButton() {
  const theme = useTheme();
  return <Button look="quiet" icon={theme} aria-label={`Theme: ${theme}`} onClick={nextTheme} />;
}
