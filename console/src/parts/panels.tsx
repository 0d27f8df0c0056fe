import { useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { apiPath, type RequestFailure } from "../api.ts";
import type { Resource } from "../resource.ts";
import { T } from "../texts.ts";

interface PanelProps {
  readonly title: string;
  readonly hint?: string;
  /** How to get the same elsewhere: the API's path, and the command line. */
  readonly call?: string;
  readonly command?: string;
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
  readonly class?: string;
}

/** One part of a page, with where its content comes from. */
export function Panel({ title, hint, call, command, aside, children, class: name = "" }: PanelProps) {
  const id = title.toLowerCase().replaceAll(/\W+/g, "-");
  return (
    <section class={`panel ${name}`} aria-labelledby={id}>
      <header>
        <h2 id={id}>{title}</h2>
        {aside}
        {(call || command) && <Sources call={call} command={command} />}
      </header>
      {hint && <p class="hint">{hint}</p>}
      {children}
    </section>
  );
}

function Sources({ call, command }: { call: string | undefined; command: string | undefined }) {
  return (
    <details class="sources">
      <summary title={T.elsewhere}>{"{ }"}</summary>
      <div>
        {call && <Copyable label={T.asApi} text={call.startsWith("/") ? `GET ${apiPath(call)}` : call} />}
        {command && <Copyable label={T.asCommand} text={command} />}
      </div>
    </details>
  );
}

export function Copyable({ label, text }: { label: string; text: string }) {
  return (
    <p class="copyable">
      <span>{label}</span>
      <code>{text}</code>
      <CopyButton text={text} />
    </p>
  );
}

export function CopyButton({ text, label = T.copy }: { text: string | (() => string); label?: string }) {
  const isDone = useSignal(false);
  const copy = async () => {
    await navigator.clipboard.writeText(typeof text === "string" ? text : text());
    isDone.value = true;
    setTimeout(() => {
      isDone.value = false;
    }, 1500);
  };
  return (
    <button type="button" class="small" onClick={() => void copy()}>
      {isDone.value ? T.copied : label}
    </button>
  );
}

/** What a request answered; what it is doing, or why it failed, in the place of that. */
export function Answer<Data>({ of, children }: { of: Resource<Data>; children: (data: Data) => ComponentChildren }) {
  if (of.data !== undefined) {
    return (
      <>
        {of.failure && (
          <p class="stale" role="status">
            {of.failure.status === 0 ? T.lost : of.failure.message}
          </p>
        )}
        {children(of.data)}
      </>
    );
  }
  if (of.failure) return <Failure message={of.failure.message} again={of.again} />;
  return <p class="loading">{T.loading} …</p>;
}

export function Failure({ message, again }: { message: string; again?: () => void }) {
  return (
    <p class="failure" role="alert">
      {message}{" "}
      {again && (
        <button type="button" class="small" onClick={again}>
          {T.retry}
        </button>
      )}
    </p>
  );
}

export function Empty({ children }: { children: ComponentChildren }) {
  return <p class="empty">{children}</p>;
}

/** Names and values, two columns. */
export function Facts({ of }: { of: readonly (readonly [name: string, value: ComponentChildren] | undefined)[] }) {
  return (
    <dl class="facts">
      {of.map(
        (one) =>
          one && (
            <div key={one[0]}>
              <dt>{one[0]}</dt>
              <dd>{one[1]}</dd>
            </div>
          ),
      )}
    </dl>
  );
}

/** All that is wrong with a configuration, each at its place. */
export function Failures({ of }: { of: RequestFailure }) {
  if (of.details.length === 0) return <Failure message={of.message} />;
  return (
    <ul class="failure" role="alert">
      {of.details.map(({ error, line, column }) => (
        <li key={error}>{line === undefined ? error : T.atPlace(line, column!, error)}</li>
      ))}
    </ul>
  );
}
