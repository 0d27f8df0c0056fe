import type { Session } from "../../../src/control/api.ts";
import { duration } from "../format.ts";
import { Panel } from "../parts/panels.tsx";
import { T } from "../texts.ts";

/** When the session reached each of its phases, to scale. */

type Timeline = NonNullable<Session["timeline"]>;

const PHASES = [
  "connected",
  "hello",
  "serverLeg",
  "judged",
  "decided",
  "tools",
  "clientLeg",
  "firstByte",
] as const satisfies readonly (keyof Timeline)[];

export function TimelinePanel({ of }: { of: Session }) {
  const { timeline, verdict, rule, start, end, state } = of;
  if (!timeline) return null;
  const held = state.startsWith("SYN") ? T.session.synHeld : T.session.clientConnected;
  const reached = PHASES.filter((mark) => timeline[mark] !== undefined)
    .map((mark) => {
      const name = mark === "decided" && verdict ? T.session.verdictBy(verdict, rule) : T.session.phases[mark];
      return [name, timeline[mark]!] as const;
    })
    .sort(([, a], [, b]) => a - b);
  const steps = [[held, 0] as const, ...reached];
  // A session may live for days after its handshakes: its end is told, not drawn.
  const last = Math.max(1, steps.at(-1)![1]);
  return (
    <Panel title={T.session.timeline}>
      <ol class="timeline">
        {steps.map(([name, at], index) => {
          const before = index === 0 ? 0 : steps[index - 1]![1];
          return (
            <li key={name}>
              <span class="name">{name}</span>
              <span class="bar">
                <i style={{ left: `${(before / last) * 100}%`, width: `${((at - before) / last) * 100}%` }} />
              </span>
              <span class="amount">{duration(at)}</span>
            </li>
          );
        })}
        <li>
          <span class="name">{end === null ? T.session.live : T.session.closed}</span>
          <span class="bar" />
          <span class="amount">{duration((end ?? Date.now()) - start)}</span>
        </li>
      </ol>
    </Panel>
  );
}
