import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { ApiError, explain, post } from "../api/client";
import { sessionQuery } from "../api/queries";
import { Button } from "../ui/Button";
import { TextField } from "../ui/Field";
import { Brand } from "./Brand";
import css from "./Login.module.css";

/** Asks for the token. It goes to the server once, and the page keeps none: the session is a cookie that scripts cannot read. */
export function Login({ version }: { version: string }) {
  const client = useQueryClient();
  const [token, setToken] = useState("");
  const login = useMutation({
    mutationFn: () => post("session", { token }),
    onSuccess: () => client.invalidateQueries({ queryKey: sessionQuery.queryKey }),
  });
  const refused = login.error instanceof ApiError && login.error.status === 401;
  const problem = !login.error ? null : refused ? "This is not the token. It is what DROVER_HTTP_TOKEN holds where drover runs." : explain(login.error);
  return (
    <main className={css.page}>
      <form
        className={css.card}
        onSubmit={(event) => {
          event.preventDefault();
          if (token !== "") login.mutate();
        }}
      >
        <h1>
          <Brand />
        </h1>
        <p className={css.what}>This drover asks for a token: the operator&rsquo;s to give orders, the viewer&rsquo;s to look.</p>
        <TextField label="Token" type="password" name="token" autoComplete="current-password" required value={token} problem={problem} onChange={({ target }) => setToken(target.value)} />
        <Button type="submit" look="main" busy={login.isPending}>
          Log in
        </Button>
        <p className={css.version}>drover {version}</p>
      </form>
    </main>
  );
}
