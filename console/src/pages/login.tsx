import { useSignal } from "@preact/signals";
import type { LoginWays } from "../../../src/control/api.ts";
import { logIn, messageOf } from "../api.ts";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

export function LoginPage() {
  const token = useSignal("");
  const problem = useSignal<string | undefined>(undefined);
  const isBusy = useSignal(false);
  const ways = useResource<LoginWays>("/login/ways");
  const enter = async (event: Event) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      await logIn(token.value.trim());
    } catch (error) {
      problem.value = messageOf(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <main class="login">
      <form onSubmit={(event) => void enter(event)}>
        <img src="/icon.svg" alt="" width="40" height="40" />
        <h1>{T.login.title}</h1>
        {/* Password managers keep a token under a name. */}
        <input type="text" name="username" autocomplete="username" value="clearline" readOnly hidden />
        <label>
          {T.login.token}
          <input
            type="password"
            autocomplete="current-password"
            autofocus
            required
            aria-describedby="token-hint"
            value={token.value}
            onInput={({ currentTarget }) => {
              token.value = currentTarget.value;
            }}
          />
        </label>
        {problem.value && (
          <p class="failure" role="alert">
            {problem.value}
          </p>
        )}
        <button type="submit" class="main" disabled={isBusy.value}>
          {T.login.enter}
        </button>
        {ways.data?.oidc && (
          <a
            class="button"
            href={`${ways.data.oidc.path}?to=${encodeURIComponent(location.pathname + location.search)}`}
          >
            {T.login.oidc}
          </a>
        )}
        <p class="hint" id="token-hint">
          {T.login.hint}
        </p>
      </form>
    </main>
  );
}
