import type { SessionExplanation } from "../../../src/control/api.ts";
import { Answer, Empty, Facts, Panel } from "../parts/panels.tsx";
import { PolicySteps } from "../parts/policy-steps.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";

/** Why it was decided so: what policy saw, what decided then, and what the policy of now would decide. */
export function WhyPanel({ id }: { id: string }) {
  const explained = useResource<SessionExplanation>(`/sessions/${id}/explanation`);
  return (
    <Panel title={T.session.why} call={`/sessions/${id}/explanation`} command={`clearline explain ${id}`}>
      <Answer of={explained}>
        {({ decided, facts, today, differs, unsure }) => (
          <>
            <Decision label={T.session.decidedThen} of={decided} />
            {today ? (
              <Decision label={differs ? T.session.todayDiffers : T.session.today} of={today} />
            ) : (
              <Empty>{T.session.noToday}</Empty>
            )}
            {unsure && <p class="stale">{unsure}</p>}
            <h3>{T.session.policySaw}</h3>
            <Facts of={facts.map(({ name, value }) => [name, value] as const)} />
            {today && (
              <details>
                <summary>{T.session.steps}</summary>
                <PolicySteps entries={today.entries} />
              </details>
            )}
          </>
        )}
      </Answer>
    </Panel>
  );
}

function Decision({
  label,
  of: { verdict, rule, phase, reason },
}: {
  label: string;
  of: Omit<NonNullable<SessionExplanation["today"]>, "entries">;
}) {
  return (
    <p class="decision">
      {label}: <span class={`verdict ${verdict ?? ""}`}>{verdict ?? T.none}</span> {rule && <b>{rule}</b>}{" "}
      {phase && T.policy.inPhase(phase)}
      {reason && `: ${reason}`}
    </p>
  );
}
