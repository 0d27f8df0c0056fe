import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { AddedBypass, Preview } from "../../../src/control/api.ts";
import { ask, messageOf } from "../api.ts";
import { T } from "../texts.ts";
import { Dialog } from "./dialog.tsx";
import { Failure } from "./panels.tsx";

/** Asks for how long and why, says what it would have covered, and adds the bypass. */
export function BypassDialog({ entry, onClose }: { entry: string; onClose: () => void }) {
  const length = useSignal<string>("1h");
  const comment = useSignal("");
  const said = useSignal("");
  const problem = useSignal<string | undefined>(undefined);
  const preview = useSignal<Preview | undefined>(undefined);
  const isDone = useSignal(false);
  useEffect(() => {
    ask<Preview>("/policy/preview", { method: "POST", body: { hours: 24, bypasses: [entry] } }).then(
      (answer) => {
        preview.value = answer;
      },
      (error: unknown) => {
        problem.value = messageOf(error);
      },
    );
  }, [entry, preview, problem]);
  const add = async (event: Event) => {
    event.preventDefault();
    try {
      const { notes } = await ask<AddedBypass>("/bypasses", {
        method: "POST",
        body: { entry, for: length.value, comment: comment.value },
      });
      said.value = [T.bypass.added(entry), ...notes].join(" ");
      problem.value = undefined;
      isDone.value = true;
    } catch (error) {
      problem.value = messageOf(error);
    }
  };
  const { covered } = preview.value ?? {};
  return (
    <Dialog title={T.bypass.title(entry)} onClose={onClose}>
      <form class="stack" onSubmit={(event) => void add(event)}>
        <p>{T.bypass.what}</p>
        {covered && <p class="preview">{T.bypass.preview(covered.failed, covered.good)}</p>}
        <fieldset>
          <legend>{T.bypass.length}</legend>
          {T.bypass.lengths.map(([value, name]) => (
            <label key={value} class="choice">
              <input
                type="radio"
                name="length"
                value={value}
                checked={length.value === value}
                onChange={() => {
                  length.value = value;
                }}
              />
              {name}
            </label>
          ))}
        </fieldset>
        <label>
          {T.bypass.because}
          <input
            required
            maxLength={200}
            value={comment.value}
            onInput={({ currentTarget }) => {
              comment.value = currentTarget.value;
            }}
          />
        </label>
        {problem.value && <Failure message={problem.value} />}
        <p role="status">{said.value}</p>
        <p class="acts">
          {!isDone.value && (
            <button type="submit" class="main">
              {T.bypass.add}
            </button>
          )}
          <button type="button" onClick={onClose}>
            {isDone.value ? T.close : T.cancel}
          </button>
        </p>
      </form>
    </Dialog>
  );
}
