import { useSignal } from "@preact/signals";
import type { AuditList, DoctorReport, FleetNodes, Stats } from "../../../src/control/api.ts";
import { may } from "../api.ts";
import { bytes, duration, number, percent } from "../format.ts";
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
                  name: T.nodePage.columns.check,
                  of: ({ name, status, says }) => <Lamp name={name} state={DOCTOR[status]} reason={says} />,
                },
                { name: T.nodePage.columns.found, of: ({ says }) => says },
                { name: T.nodePage.columns.whatToDo, of: ({ remedy }) => remedy ?? "" },
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
          [T.nodePage.facts.version, version],
          [T.nodePage.facts.runs, <Time key="started" at={startedAt} as="distance" />],
          [
            T.nodePage.facts.supervisor,
            [T.nodePage.process(supervisor.pid), bytes(supervisor.memory), late(supervisor.delay)].join(", "),
          ],
          [T.nodePage.facts.history, T.nodePage.recorded(number(history.sessions), history.reason)],
        ]}
      />
      <Table
        label={T.nodePage.processes}
        rows={workers}
        keyOf={({ id }) => String(id)}
        columns={[
          { name: T.nodePage.columns.worker, of: ({ id, pid }) => `${id} (${T.nodePage.process(pid)})` },
          { name: T.nodePage.columns.sessions, of: ({ sessions }) => number(sessions), isAmount: true },
          {
            name: T.nodePage.columns.memory,
            of: ({ memory }) => (memory === undefined ? "" : bytes(memory)),
            isAmount: true,
          },
          { name: T.nodePage.columns.cpu, of: ({ cpu }) => duration(cpu * 1000), isAmount: true },
          { name: T.nodePage.columns.lateBy, of: ({ delay }) => late(delay) },
          { name: T.nodePage.columns.runsFor, of: (worker) => duration(now.value - worker.startedAt) },
          { name: T.nodePage.columns.restarts, of: ({ restarts }) => number(restarts), isAmount: true },
          {
            name: T.nodePage.columns.tlsConnections,
            of: ({ engine }) => number(engine?.connections ?? 0),
            isAmount: true,
          },
          { name: T.nodePage.columns.sockets, of: ({ engine }) => number(engine?.ends ?? 0), isAmount: true },
        ]}
      />
    </>
  );
}

/** How late an event loop does things. */
function late(delay: Stats["supervisor"]["delay"]): string {
  return delay ? T.nodePage.late(duration(delay.p50), duration(delay.max)) : "";
}

function Listeners({ of: { listeners, counters } }: { of: Stats }) {
  return (
    <Table
      label={T.nodePage.listeners}
      rows={listeners}
      keyOf={({ name }) => name}
      columns={[
        { name: T.nodePage.columns.listener, of: ({ name, mode }) => `${name} (${mode})` },
        { name: T.nodePage.columns.where, of: ({ address }) => address },
        { name: T.nodePage.columns.live, of: ({ name }) => number(counters[name]?.open ?? 0), isAmount: true },
        {
          name: T.nodePage.columns.sinceTheStart,
          of: ({ name }) => number(counters[name]?.total ?? 0),
          isAmount: true,
        },
        {
          name: T.nodePage.columns.handshakesFailed,
          of: ({ name }) => number(counters[name]?.handshakeFailures ?? 0),
          isAmount: true,
        },
      ]}
    />
  );
}

function Limits({ of: { sessions, bound, met } }: { of: Stats["limits"] }) {
  return (
    <>
      <Facts of={[[T.nodePage.facts.atMost, T.nodePage.bounded(number(sessions), bound)]]} />
      {met.length > 0 && (
        <Table
          label={T.nodePage.limits}
          rows={met}
          keyOf={({ limit }) => limit}
          columns={[
            { name: T.nodePage.columns.limit, of: ({ limit }) => limit },
            { name: T.nodePage.columns.refused, of: ({ refused }) => number(refused), isAmount: true },
            { name: T.nodePage.columns.evicted, of: ({ evicted }) => number(evicted), isAmount: true },
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
          <>
            <Sums of={nodes} />
            <Table
              label={T.nodePage.fleet}
              rows={nodes}
              keyOf={({ name, since }) => `${name} ${since}`}
              columns={[
                {
                  name: T.nodePage.columns.node,
                  of: ({ name, health, answered }) => (
                    <Lamp
                      name={name}
                      state={health ? HEALTH[health.status] : answered ? "off" : "bad"}
                      reason={
                        health?.reasons.map(({ fact }) => fact).join(", ") ||
                        (answered ? T.nodePage.nodeWell : T.nodePage.noAnswer)
                      }
                    />
                  ),
                },
                { name: T.nodePage.columns.version, of: ({ version }) => version ?? "" },
                { name: T.nodePage.columns.runs, of: ({ since }) => <Time at={since} as="distance" /> },
                {
                  name: T.nodePage.columns.liveSessions,
                  of: ({ live }) => (live === null ? "" : number(live)),
                  isAmount: true,
                },
                {
                  name: T.nodePage.columns.endedInTheLastHour,
                  of: ({ outcomes }) => (outcomes ? number(sum(Object.values(outcomes))) : ""),
                  isAmount: true,
                },
                {
                  name: T.nodePage.columns.decrypted,
                  of: ({ outcomes }) => (outcomes ? number(outcomes.decrypted ?? 0) : ""),
                  isAmount: true,
                },
                {
                  name: T.nodePage.columns.console,
                  of: ({ api, self }) => (self ? T.nodePage.thisOne : api && <a href={api}>{api}</a>),
                },
              ]}
            />
          </>
        )}
      </Answer>
    </Panel>
  );
}

/** What all nodes that answer do together. */
function Sums({ of }: { of: FleetNodes["nodes"] }) {
  const ended = sum(of.flatMap(({ outcomes }) => Object.values(outcomes ?? {})));
  const decrypted = sum(of.map(({ outcomes }) => outcomes?.decrypted ?? 0));
  const live = sum(of.map((node) => node.live ?? 0));
  return (
    <p class="decision">
      <b>{T.nodePage.sums(of.length, of.filter(({ answered }) => answered).length)}</b>;{" "}
      {T.nodePage.sumsOf(number(live), number(ended), number(decrypted), percent(decrypted, ended))}
    </p>
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
                { name: T.nodePage.columns.when, of: ({ time }) => <Time at={time} as="full" /> },
                { name: T.nodePage.columns.who, of: ({ who, role }) => `${who} (${role})` },
                {
                  name: T.nodePage.columns.what,
                  of: ({ action, subject }) => `${action}${subject ? ` ${subject}` : ""}`,
                },
                {
                  name: T.nodePage.columns.outcome,
                  of: ({ outcome, detail }) => `${outcome}${detail ? `: ${detail}` : ""}`,
                },
                { name: T.nodePage.columns.from, of: ({ address }) => address ?? T.nodePage.signal },
              ]}
            />
          )
        }
      </Answer>
    </Panel>
  );
}
