import { useSignal } from "@preact/signals";
import type { LogList } from "../../../src/control/api.ts";
import { may, query } from "../api.ts";
import { clock } from "../format.ts";
import { Answer, Panel } from "../parts/panels.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

const LEVELS = ["trace", "info", "warn", "error"] as const;

/** The end of the node's log. */
export function LogPanel() {
  const level = useSignal<string>("info");
  const allowed = may("operator");
  const log = useResource<LogList>(allowed ? `/log${query({ lines: 200, level: level.value })}` : undefined, 3_000);
  if (!allowed) return null;
  return (
    <Panel
      title={T.nodePage.log}
      call="/log?lines=200"
      aside={
        <label>
          {T.nodePage.level}{" "}
          <select
            value={level.value}
            onChange={({ currentTarget }) => {
              level.value = currentTarget.value;
            }}
          >
            {LEVELS.map((name) => (
              <option key={name}>{name}</option>
            ))}
          </select>
        </label>
      }
    >
      <Answer of={log}>
        {({ lines }) => (
          // biome-ignore lint/a11y/noNoninteractiveTabindex: a part that scrolls must be reached by keys
          <pre class="follow" tabIndex={0}>
            {lines.toReversed().map(({ number, time, level: at, message, fields }) => (
              <div key={number} class={`log-${at}`}>
                {time === null ? "" : clock(time)} {at.padEnd(5)} {message}{" "}
                {Object.keys(fields).length > 0 ? JSON.stringify(fields) : ""}
              </div>
            ))}
          </pre>
        )}
      </Answer>
    </Panel>
  );
}
