import { useSignal } from "@preact/signals";
import type { Explanation, PolicyOrder, Reloaded, SuggestionInfo } from "../../../src/control/api.ts";
import { ask, failureOf, may, query, type RequestFailure } from "../api.ts";
import { number } from "../format.ts";
import { Answer, Empty, Failures, Panel } from "../parts/panels.tsx";
import { PolicySteps } from "../parts/policy-steps.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { parameters, put } from "../router.ts";
import { T } from "../texts.ts";
import { BypassesPanel } from "./policy-bypasses.tsx";
import { ListsPanel } from "./policy-lists.tsx";
import { PreviewPanel } from "./policy-preview.tsx";

export function PolicyPage() {
  const order = useResource<PolicyOrder>("/policy", 10_000);
  const suggestions = useResource<readonly SuggestionInfo[]>("/suggestions", 10_000);
  return (
    <div class="page">
      <DryRun />
      <Panel
        title={T.policy.order}
        hint={T.policy.orderHint}
        call="/policy"
        command="clearline explain --host example.com"
        aside={<Reload onDone={order.again} />}
      >
        <Answer of={order}>{(all) => <Order of={all.order} />}</Answer>
      </Panel>
      <BypassesPanel />
      <ListsPanel />
      <PreviewPanel />
      <Panel title={T.policy.suggestions} call="/suggestions" command="clearline suggestions">
        <Answer of={suggestions}>
          {(all) => (all.length === 0 ? <Empty>{T.policy.noSuggestions}</Empty> : <Suggestions of={all} />)}
        </Answer>
      </Panel>
    </div>
  );
}

function Order({ of }: { of: PolicyOrder["order"] }) {
  return (
    <Table
      label={T.policy.order}
      rows={of}
      keyOf={(_, index) => String(index)}
      columns={[
        { name: T.policy.columns.phase, of: ({ phase }) => phase },
        { name: T.policy.columns.group, of: ({ group }) => group },
        { name: T.policy.columns.entry, of: ({ name }) => name },
        { name: T.policy.columns.action, of: ({ action }) => <span class={`verdict ${action}`}>{action}</span> },
        { name: T.policy.columns.sessionsLastHour, of: ({ hits }) => number(hits.hour), isAmount: true },
        { name: T.policy.columns.last24Hours, of: ({ hits }) => number(hits.day), isAmount: true },
      ]}
    />
  );
}

function Suggestions({ of }: { of: readonly SuggestionInfo[] }) {
  return (
    <Table
      label={T.policy.suggestions}
      rows={of}
      keyOf={({ client, host, port }) => `${client} ${host} ${port}`}
      columns={[
        { name: T.policy.columns.host, of: ({ host, port }) => `${host}:${port}` },
        { name: T.policy.columns.client, of: ({ client }) => client },
        { name: T.policy.columns.refusals, of: ({ refusals }) => number(refusals), isAmount: true },
        { name: T.policy.columns.how, of: ({ how }) => Object.keys(how).join(", ") },
        { name: T.policy.columns.last, of: ({ last }) => <Time at={last} as="distance" /> },
        { name: T.policy.columns.whatToDo, of: ({ remedy }) => remedy },
      ]}
    />
  );
}

function Reload({ onDone }: { onDone: () => void }) {
  const said = useSignal<string | undefined>(undefined);
  const failure = useSignal<RequestFailure | undefined>(undefined);
  const reload = async () => {
    try {
      const { changes, warnings } = await ask<Reloaded>("/reload", { method: "POST" });
      const did = changes.length === 0 ? [T.policy.nothingChanged] : changes;
      said.value = [...did, ...warnings].join(" ");
      failure.value = undefined;
      onDone();
    } catch (error) {
      failure.value = failureOf(error);
    }
  };
  return (
    <span class="aside">
      <button
        type="button"
        class="small"
        disabled={!may("operator")}
        title={may("operator") ? T.policy.reloadHint : T.noRight("operator")}
        onClick={() => void reload()}
      >
        {T.policy.reload}
      </button>
      <span role="status">{said.value}</span>
      {failure.value && <Failures of={failure.value} />}
    </span>
  );
}

const ASKED = [
  ["host", "www.example.com"],
  ["client", "10.0.0.5"],
  ["server", "192.0.2.7:443"],
  ["listener", "proxy"],
  ["alpn", "h2,http/1.1"],
] as const;

function DryRun() {
  const asked = Object.fromEntries(ASKED.map(([name]) => [name, parameters.value.get(name) ?? ""]));
  const isAsked = Object.values(asked).some((value) => value !== "");
  const where = isAsked ? `/explain${query(asked)}` : undefined;
  const answer = useResource<Explanation>(where);
  return (
    <Panel
      title={T.policy.dryRun}
      hint={T.policy.dryRunHint}
      call={where ?? "/explain?host=example.com"}
      command={`clearline explain ${
        ASKED.filter(([name]) => asked[name])
          .map(([name]) => `--${name} ${asked[name]}`)
          .join(" ") || "--host example.com"
      }`}
    >
      <form class="inline" onSubmit={(event) => event.preventDefault()}>
        {ASKED.map(([name, example]) => (
          <label key={name}>
            {T.policy.asked[name]}
            <input
              value={asked[name]}
              placeholder={example}
              spellcheck={false}
              autocomplete="off"
              onChange={({ currentTarget }) => put({ [name]: currentTarget.value.trim() })}
            />
          </label>
        ))}
        <button type="submit" class="main">
          {T.policy.ask}
        </button>
      </form>
      {isAsked && <Answer of={answer}>{(all) => <Explained of={all} />}</Answer>}
    </Panel>
  );
}

/** What decided, what was looked at before it, and what the answer depends on. */
export function Explained({ of: { verdict, entries, assumed, otherwise } }: { of: Explanation }) {
  return (
    <div class="explained">
      <p class="decision">
        <span class={`verdict ${verdict.action}`}>{verdict.action}</span> {T.policy.by} <b>{verdict.rule}</b>{" "}
        {T.policy.inPhase(verdict.phase)}: {verdict.reason}
      </p>
      <PolicySteps entries={entries} />
      {[...assumed, ...otherwise].length > 0 && (
        <ul class="notes">
          {[...assumed, ...otherwise].map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
    </div>
  );
}
