import type { Session } from "../../../src/control/api.ts";
import { ENDS, OUTCOMES, OUTCOMES_SHORT } from "../texts.ts";

/** Small marks: outcomes, verdicts, states, lamps. Colour never says anything alone. */

export function Outcome({ outcome, isShort = false }: { outcome: Session["outcome"]; isShort?: boolean }) {
  return <span class={`mark outcome-${outcome}`}>{(isShort ? OUTCOMES_SHORT : OUTCOMES)[outcome]}</span>;
}

const LETTERS: Readonly<Record<string, string>> = {
  INIT: "no connection",
  SYN_SENT: "opening",
  SYN_RCV: "asked",
  EST: "up",
};

/** The states of the node's four TCP ends, as four dots: empty, half, full. */
export function Dots({ state }: { state: string }) {
  const ends = state.split(":");
  const said = ends.map((end, index) => `${ENDS[index]}: ${LETTERS[end] ?? end}`).join("; ");
  return (
    <span class="dots" role="img" aria-label={said} title={`${state}\n${said.replaceAll("; ", "\n")}`}>
      {ends.map((end, index) => (
        <i key={index} class={`dot ${end}`} />
      ))}
    </span>
  );
}

export type LampState = "good" | "warning" | "bad" | "off";
const LAMP_WORDS: Readonly<Record<LampState, string>> = {
  good: "well",
  warning: "look",
  bad: "failing",
  off: "not used",
};
const LAMP_SIGNS: Readonly<Record<LampState, string>> = { good: "✓", warning: "!", bad: "×", off: "–" };

export function Lamp({ name, state, reason }: { name: string; state: LampState; reason: string }) {
  return (
    <span class={`lamp ${state}`} title={`${name}: ${reason}`}>
      <b aria-hidden="true">{LAMP_SIGNS[state]}</b>
      {name}
      <span class="unseen">
        : {LAMP_WORDS[state]}, {reason}
      </span>
    </span>
  );
}
