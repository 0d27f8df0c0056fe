import { useSignal } from "@preact/signals";
import type { BypassInfo } from "../../../src/control/api.ts";
import { ask, may, messageOf } from "../api.ts";
import { number } from "../format.ts";
import { BypassDialog } from "../parts/bypass-dialog.tsx";
import { Answer, Empty, Failure, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

/** Bypasses with an end: what there is, a form for another one, and a way to end one early. */
export function BypassesPanel() {
  const bypasses = useResource<readonly BypassInfo[]>("/bypasses", 5_000);
  const entry = useSignal("");
  const isAsking = useSignal(false);
  const problem = useSignal<string | undefined>(undefined);
  const allowed = may("operator");
  const title = allowed ? "" : T.noRight("operator");
  const remove = async (id: string) => {
    try {
      await ask(`/bypasses/${id}`, { method: "DELETE" });
      problem.value = undefined;
    } catch (error) {
      problem.value = messageOf(error);
    }
    bypasses.again();
  };
  return (
    <Panel
      title={T.policy.bypasses}
      call="/bypasses"
      command='clearline bypass add app.example.com --for 24h --because "…"'
    >
      <form
        class="inline"
        onSubmit={(event) => {
          event.preventDefault();
          isAsking.value = true;
        }}
      >
        <label>
          {T.bypass.entry}
          <input
            required
            value={entry.value}
            placeholder="*.example.com, 192.0.2.0/24"
            spellcheck={false}
            onInput={({ currentTarget }) => {
              entry.value = currentTarget.value.trim();
            }}
          />
        </label>
        <button type="submit" class="main" disabled={!allowed} title={title}>
          {T.bypass.add} …
        </button>
      </form>
      {problem.value && <Failure message={problem.value} />}
      <Answer of={bypasses}>
        {(all) =>
          all.length === 0 ? (
            <Empty>{T.bypass.none}</Empty>
          ) : (
            <Table
              label={T.policy.bypasses}
              rows={all}
              keyOf={({ id }) => id}
              columns={[
                { name: T.bypass.columns.hostOrAddress, of: (one) => <b>{one.entry}</b> },
                {
                  name: T.bypass.columns.ends,
                  of: ({ expires }) => (expires === null ? T.bypass.never : <Time at={expires} as="distance" />),
                },
                { name: T.bypass.columns.because, of: ({ comment }) => comment },
                { name: T.bypass.columns.by, of: ({ author }) => author },
                { name: T.bypass.columns.made, of: ({ made }) => <Time at={made} as="full" /> },
                { name: T.bypass.columns.sessions, of: ({ hits }) => number(hits), isAmount: true },
                {
                  name: T.bypass.columns.last,
                  of: ({ lastHit }) => (lastHit === null ? "" : <Time at={lastHit} as="distance" />),
                },
                {
                  name: T.bypass.act,
                  of: ({ id }) => (
                    <button
                      type="button"
                      class="small danger"
                      disabled={!allowed}
                      title={title}
                      onClick={() => void remove(id)}
                    >
                      {T.bypass.remove}
                    </button>
                  ),
                },
              ]}
            />
          )
        }
      </Answer>
      {isAsking.value && (
        <BypassDialog
          entry={entry.value}
          onClose={() => {
            isAsking.value = false;
            bypasses.again();
          }}
        />
      )}
    </Panel>
  );
}
