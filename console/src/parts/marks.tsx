import type { Session } from "../../../src/control/api.ts";
import { END_STATES, ENDS, OUTCOMES, OUTCOMES_SHORT, T } from "../texts.ts";

/** Small marks: outcomes, verdicts, states, lamps. Colour never says anything alone. */

export function Outcome({ outcome, isShort = false }: { outcome: Session["outcome"]; isShort?: boolean }) {
  return <span class={`mark outcome-${outcome}`}>{(isShort ? OUTCOMES_SHORT : OUTCOMES)[outcome]}</span>;
}

/** The states of the node's four TCP ends, as four dots: empty, half, full. */
export function Dots({ state }: { state: string }) {
  const ends = state.split(":");
  const said = ends.map((end, index) => `${ENDS[index]}: ${END_STATES[end] ?? end}`).join("; ");
  return (
    <span class="dots" role="img" aria-label={said} title={`${state}\n${said.replaceAll("; ", "\n")}`}>
      {ends.map((end, index) => (
        <i key={index} class={`dot ${end}`} />
      ))}
    </span>
  );
}

export type LampState = "good" | "warning" | "bad" | "off";
const LAMP_SIGNS: Readonly<Record<LampState, string>> = { good: "✓", warning: "!", bad: "×", off: "–" };

export function Lamp({ name, state, reason }: { name: string; state: LampState; reason: string }) {
  return (
    <span class={`lamp ${state}`} title={[name, reason].filter(Boolean).join(": ")}>
      <b aria-hidden="true">{LAMP_SIGNS[state]}</b>
      {name}
      <span class="unseen">: {[T.lamps.words[state], reason].filter(Boolean).join(", ")}</span>
    </span>
  );
}
