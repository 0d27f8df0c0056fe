import { useSignal } from "@preact/signals";
import type { Preview } from "../../../src/control/api.ts";
import { ask, failureOf, may, RequestFailure } from "../api.ts";
import { number } from "../format.ts";
import { Empty, Failures, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { T } from "../texts.ts";

const EXAMPLE = `{
  "default": "decrypt",
  "rules": [
    { "name": "banking", "match": { "host": "*.bank.example" }, "action": "bypass" }
  ]
}`;

/** What an edited policy would have decided about the sessions on record. Its mistakes are told at their places. */
export function PreviewPanel() {
  const text = useSignal("");
  const hours = useSignal("24");
  const answer = useSignal<Preview | undefined>(undefined);
  const failure = useSignal<RequestFailure | undefined>(undefined);
  const isBusy = useSignal(false);
  const preview = async (event: Event) => {
    event.preventDefault();
    isBusy.value = true;
    try {
      const policy = read(text.value);
      answer.value = await ask<Preview>("/policy/preview", {
        method: "POST",
        body: { hours: Number(hours.value), policy },
      });
      failure.value = undefined;
    } catch (error) {
      failure.value = failureOf(error);
    } finally {
      isBusy.value = false;
    }
  };
  return (
    <Panel
      title={T.policy.preview}
      hint={T.policy.previewHint}
      call="POST /api/v1/policy/preview"
      command="clearline policy preview clearline.yaml --hours 24"
    >
      <form class="stack" onSubmit={(event) => void preview(event)}>
        <label class="unseen" for="policy-text">
          {T.policy.previewText}
        </label>
        <textarea
          id="policy-text"
          class="code"
          spellcheck={false}
          required
          placeholder={EXAMPLE}
          value={text.value}
          onInput={({ currentTarget }) => {
            text.value = currentTarget.value;
          }}
        />
        <p class="acts">
          <label class="choice">
            {T.policy.hours}{" "}
            <input
              type="number"
              min={1}
              max={8784}
              value={hours.value}
              onInput={({ currentTarget }) => {
                hours.value = currentTarget.value;
              }}
            />
          </label>
          <button
            type="submit"
            class="main"
            disabled={isBusy.value || !may("operator")}
            title={may("operator") ? "" : T.noRight("operator")}
          >
            {T.policy.previewAsk}
          </button>
        </p>
      </form>
      {failure.value && <Failures of={failure.value} />}
      {answer.value && <Changes of={answer.value} />}
    </Panel>
  );
}

/** The text is JSON, as the API takes it. A mistake is told with its place, which browsers word differently. */
function read(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new RequestFailure(0, { error: `${T.policy.notJson} ${error instanceof Error ? error.message : ""}` });
  }
}

function Changes({ of: { sessions, changed, covered, changes } }: { of: Preview }) {
  const shown = ({ verdict, rule }: { verdict: string | null; rule: string | null }) => (
    <>
      <span class={`verdict ${verdict ?? ""}`}>{verdict ?? T.none}</span> {rule}
    </>
  );
  return (
    <>
      <p class="decision">
        {T.policy.previewed(number(changed), number(sessions))}{" "}
        {covered.failed + covered.good > 0 && T.bypass.preview(covered.failed, covered.good)}
      </p>
      {changes.length === 0 ? (
        <Empty>{T.policy.nothingChanged}</Empty>
      ) : (
        <Table
          label={T.policy.preview}
          rows={changes}
          keyOf={(_, index) => String(index)}
          columns={[
            { name: T.policy.columns.before, of: ({ before }) => shown(before) },
            { name: T.policy.columns.after, of: ({ after }) => shown(after) },
            { name: T.policy.columns.sessions, of: (change) => number(change.sessions), isAmount: true },
            { name: T.policy.columns.failed, of: ({ outcomes }) => number(outcomes.failed), isAmount: true },
            { name: T.policy.columns.good, of: ({ outcomes }) => number(outcomes.good), isAmount: true },
            {
              name: T.policy.columns.examples,
              of: ({ examples }) =>
                examples.map(({ id, host }) => (
                  <a key={id} class="example" href={`/sessions/${id}`}>
                    {host}
                  </a>
                )),
            },
          ]}
        />
      )}
    </>
  );
}
