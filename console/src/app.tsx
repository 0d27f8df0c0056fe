import { effect } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { findLogin, login, logOut } from "./api.ts";
import { HomePage } from "./home/page.tsx";
import { isHelpOpen, listenForKeys } from "./keys.ts";
import { CertificatesPage } from "./pages/certificates.tsx";
import { Help } from "./pages/help.tsx";
import { LoginPage } from "./pages/login.tsx";
import { NodePage } from "./pages/node.tsx";
import { PolicyPage } from "./pages/policy.tsx";
import { SessionPage } from "./pages/session.tsx";
import { ToolsPage } from "./pages/tools.tsx";
import { Failure } from "./parts/panels.tsx";
import { path } from "./router.ts";
import { PAGES, T } from "./texts.ts";
import { nextTheme, theme } from "./theme.ts";

/** Every place of the console, in the order of the navigation and of the keys 1 to 5. */
export const PLACES = [
  ["/", PAGES.home, HomePage],
  ["/policy", PAGES.policy, PolicyPage],
  ["/certificates", PAGES.certificates, CertificatesPage],
  ["/tools", PAGES.tools, ToolsPage],
  ["/node", PAGES.node, NodePage],
] as const;

effect(() => {
  const place = PLACES.find(([where]) => where === path.value)?.[1];
  document.title = place ? `${place} · ${T.name}` : T.name;
});

export function App() {
  useEffect(() => {
    findLogin().catch(() => {
      login.value = null;
    });
    return listenForKeys(PLACES.map(([where]) => where));
  }, []);
  if (login.value === undefined) return <p class="loading">{T.loading} …</p>;
  if (login.value === null) return <LoginPage />;
  return (
    <Shell>
      <Place />
    </Shell>
  );
}

function Place() {
  const [, session] = /^\/sessions\/([\w.-]+)$/.exec(path.value) ?? [];
  if (session) return <SessionPage key={session} id={session} />;
  const [where, name, Page] = PLACES.find(([where]) => where === path.value) ?? [];
  if (!Page) return <Failure message={T.noPage(path.value)} />;
  return (
    <>
      {where !== "/" && <h1 class="unseen">{name}</h1>}
      <Page />
    </>
  );
}

function Shell({ children }: { children: ComponentChildren }) {
  return (
    <>
      <a class="skip" href="#content">
        {T.skip}
      </a>
      <header class="top">
        <a class="brand" href="/">
          <img src="/icon.svg" alt="" width="22" height="22" />
          {T.name}
        </a>
        <nav aria-label={T.pages}>
          {PLACES.map(([where, name]) => (
            <a key={where} href={where} aria-current={path.value === where ? "page" : undefined}>
              {name}
            </a>
          ))}
        </nav>
        <span class="user">
          <button type="button" class="small" onClick={nextTheme} title={T.colours}>
            {T.theme[theme.value]}
          </button>
          <button
            type="button"
            class="small"
            aria-label={T.help.title}
            onClick={() => {
              isHelpOpen.value = true;
            }}
          >
            ?
          </button>
          <span class="who" title={login.value?.role}>
            {login.value?.name}
          </span>
          <button type="button" class="small" onClick={() => void logOut()}>
            {T.logOut}
          </button>
        </span>
      </header>
      <main id="content" tabIndex={-1}>
        {children}
      </main>
      {isHelpOpen.value && <Help />}
    </>
  );
}
