import { useSignal } from "@preact/signals";
import type { AuditList, DoctorReport, FleetNodes, Stats } from "../../../src/control/api.ts";
import { may } from "../api.ts";
import { bytes, duration, number } from "../format.ts";
import { HEALTH } from "../home/lamps.tsx";
import { Lamp, type LampState } from "../parts/marks.tsx";
import { Answer, Empty, Facts, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { now, Time } from "../parts/time.tsx";
import { useResource } from "../resource.ts";
import { T } from "../texts.ts";
import { LogPanel } from "./node-log.tsx";

export function NodePage() {
  const stats = useResource<Stats>("/stats", 3000);
  return (
    <div class="page">
      <Panel title={T.nodePage.health} call="/health" command="clearline doctor">
        <Answer of={stats}>{({ health }) => <HealthReasons of={health} />}</Answer>
      </Panel>
      <Doctor />
      <Panel title={T.nodePage.processes} call="/stats" command="clearline stats">
        <Answer of={stats}>{(all) => <Processes of={all} />}</Answer>
      </Panel>
      <Panel title={T.nodePage.listeners} call="/stats" command="clearline stats">
        <Answer of={stats}>{(all) => <Listeners of={all} />}</Answer>
      </Panel>
      <Panel title={T.nodePage.limits} call="/stats" command="clearline stats">
        <Answer of={stats}>{({ limits }) => <Limits of={limits} />}</Answer>
      </Panel>
      <Fleet />
      <LogPanel />
      {may("administrator") && <Audit />}
    </div>
  );
}

function HealthReasons({ of: { status, reasons } }: { of: Stats["health"] }) {
  return (
    <>
      <p class="decision">
        <Lamp
          name={status}
          state={HEALTH[status]}
          reason={reasons.length === 0 ? T.nodePage.well : `${reasons.length}`}
        />
        {reasons.length === 0 && ` ${T.nodePage.well}`}
      </p>
      <ul class="notes">
        {reasons.map(({ fact, reason, remedy }) => (
          <li key={fact}>
            <b>{reason}</b> {remedy}
          </li>
        ))}
      </ul>
    </>
  );
}

const DOCTOR: Readonly<Record<DoctorReport["status"], LampState>> = { ok: "good", warning: "warning", bad: "bad" };

/** Examines the node when asked: it takes some seconds. */
function Doctor() {
  const isAsked = useSignal(false);
  const report = useResource<DoctorReport>(isAsked.value ? "/doctor" : undefined);
  const allowed = may("operator");
  return (
    <Panel
      title={T.nodePage.doctor}
      call="/doctor"
      command="clearline doctor"
      aside={
        <button
          type="button"
          class="small"
          disabled={!allowed}
          title={allowed ? "" : T.noRight("operator")}
          onClick={() => {
            if (isAsked.value) report.again();
            isAsked.value = true;
          }}
        >
          {T.nodePage.doctorRun}
        </button>
      }
    >
      {isAsked.value && (
        <Answer of={report}>
          {({ checks }) => (
            <Table
              label={T.nodePage.doctor}
              rows={checks}
              keyOf={(_, index) => String(index)}
              columns={[
                {
                  name: "Check",
                  of: ({ name, status, says }) => <Lamp name={name} state={DOCTOR[status]} reason={says} />,
                },
                { name: "Found", of: ({ says }) => says },
                { name: "What to do", of: ({ remedy }) => remedy ?? "" },
              ]}
            />
          )}
        </Answer>
      )}
    </Panel>
  );
}

function Processes({ of: { supervisor, workers, startedAt, version, history } }: { of: Stats }) {
  return (
    <>
      <Facts
        of={[
          ["Version", version],
          ["Runs", <Time key="started" at={startedAt} as="distance" />],
          ["Supervisor", `process ${supervisor.pid}, ${bytes(supervisor.memory)}, ${late(supervisor.delay)}`],
          ["History", `${number(history.sessions)} sessions${history.reason ? `, stopped: ${history.reason}` : ""}`],
        ]}
      />
      <Table
        label={T.nodePage.processes}
        rows={workers}
        keyOf={({ id }) => String(id)}
        columns={[
          { name: "Worker", of: ({ id, pid }) => `${id} (process ${pid})` },
          { name: "Sessions", of: ({ sessions }) => number(sessions), isAmount: true },
          { name: "Memory", of: ({ memory }) => (memory === undefined ? "" : bytes(memory)), isAmount: true },
          { name: "CPU", of: ({ cpu }) => duration(cpu * 1000), isAmount: true },
          { name: "Late by", of: ({ delay }) => late(delay) },
          { name: "Runs for", of: (worker) => duration(now.value - worker.startedAt) },
          { name: "Restarts", of: ({ restarts }) => number(restarts), isAmount: true },
          { name: "TLS connections", of: ({ engine }) => number(engine?.connections ?? 0), isAmount: true },
          { name: "Sockets", of: ({ engine }) => number(engine?.ends ?? 0), isAmount: true },
        ]}
      />
    </>
  );
}

/** How late an event loop does things. */
function late(delay: Stats["supervisor"]["delay"]): string {
  return delay ? `${duration(delay.p50)}, at most ${duration(delay.max)}` : "";
}

function Listeners({ of: { listeners, counters } }: { of: Stats }) {
  return (
    <Table
      label={T.nodePage.listeners}
      rows={listeners}
      keyOf={({ name }) => name}
      columns={[
        { name: "Listener", of: ({ name, mode }) => `${name} (${mode})` },
        { name: "Where", of: ({ address }) => address },
        { name: "Live", of: ({ name }) => number(counters[name]?.open ?? 0), isAmount: true },
        { name: "Since the start", of: ({ name }) => number(counters[name]?.total ?? 0), isAmount: true },
        { name: "Handshakes failed", of: ({ name }) => number(counters[name]?.handshakeFailures ?? 0), isAmount: true },
      ]}
    />
  );
}

function Limits({ of: { sessions, bound, met } }: { of: Stats["limits"] }) {
  return (
    <>
      <Facts of={[["At most", `${number(sessions)} sessions, bounded by ${bound}`]]} />
      {met.length > 0 && (
        <Table
          label={T.nodePage.limits}
          rows={met}
          keyOf={({ limit }) => limit}
          columns={[
            { name: "Limit", of: ({ limit }) => limit },
            { name: "Refused", of: ({ refused }) => number(refused), isAmount: true },
            { name: "Evicted", of: ({ evicted }) => number(evicted), isAmount: true },
          ]}
        />
      )}
    </>
  );
}

/** All nodes of the store, with their sums; without a store, this node. */
function Fleet() {
  const fleet = useResource<FleetNodes>("/fleet", 10_000);
  return (
    <Panel title={T.nodePage.fleet} call="/fleet" command="clearline sessions --fleet">
      <Answer of={fleet}>
        {({ nodes }) => (
          <Table
            label={T.nodePage.fleet}
            rows={nodes}
            keyOf={({ name, since }) => `${name} ${since}`}
            columns={[
              {
                name: "Node",
                of: ({ name, health, answered }) => (
                  <Lamp
                    name={name}
                    state={health ? HEALTH[health.status] : answered ? "off" : "bad"}
                    reason={
                      health?.reasons.map(({ fact }) => fact).join(", ") || (answered ? "well" : "it does not answer")
                    }
                  />
                ),
              },
              { name: "Version", of: ({ version }) => version ?? "" },
              { name: "Runs", of: ({ since }) => <Time at={since} as="distance" /> },
              { name: "Live sessions", of: ({ live }) => (live === null ? "" : number(live)), isAmount: true },
              {
                name: "Ended in the last hour",
                of: ({ outcomes }) => (outcomes ? number(sum(Object.values(outcomes))) : ""),
                isAmount: true,
              },
              {
                name: "Decrypted",
                of: ({ outcomes }) => (outcomes ? number(outcomes.decrypted ?? 0) : ""),
                isAmount: true,
              },
              { name: "Console", of: ({ api, self }) => (self ? "this one" : api && <a href={api}>{api}</a>) },
            ]}
          />
        )}
      </Answer>
    </Panel>
  );
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((all, one) => all + one, 0);
}

function Audit() {
  const audit = useResource<AuditList>("/audit?limit=50", 10_000);
  return (
    <Panel title={T.nodePage.audit} call="/audit" command="clearline audit">
      <Answer of={audit}>
        {({ entries }) =>
          entries.length === 0 ? (
            <Empty>{T.nodePage.noAudit}</Empty>
          ) : (
            <Table
              label={T.nodePage.audit}
              rows={entries}
              keyOf={(entry) => String(entry.number)}
              columns={[
                { name: "When", of: ({ time }) => <Time at={time} as="full" /> },
                { name: "Who", of: ({ who, role }) => `${who} (${role})` },
                { name: "What", of: ({ action, subject }) => `${action}${subject ? ` ${subject}` : ""}` },
                { name: "Outcome", of: ({ outcome, detail }) => `${outcome}${detail ? `: ${detail}` : ""}` },
                { name: "From", of: ({ address }) => address ?? "a signal" },
              ]}
            />
          )
        }
      </Answer>
    </Panel>
  );
}
