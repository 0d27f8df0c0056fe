import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { TransactionInfo, TransactionList, ViewPart } from "../../../src/control/api.ts";
import { apiPath, ask, may, messageOf } from "../api.ts";
import { bytes, duration } from "../format.ts";
import { Empty, Failure, Panel } from "../parts/panels.tsx";
import { Table } from "../parts/table.tsx";
import { Time } from "../parts/time.tsx";
import { T } from "../texts.ts";

/** What the session carried, read as HTTP. Nothing is shown unasked: each look is on record in the audit log. */
export function HttpPanel({ id }: { id: string }) {
  const list = useSignal<TransactionList | undefined>(undefined);
  const problem = useSignal<string | undefined>(undefined);
  const isFollowing = useSignal(false);
  const show = async () => {
    try {
      list.value = await ask<TransactionList>(`/sessions/${id}/transactions`);
      problem.value = undefined;
    } catch (error) {
      problem.value = messageOf(error);
    }
  };
  const allowed = may("operator");
  const title = allowed ? T.session.audited : T.noRight("operator");
  const file = (name: "har" | "pcap", text: string) =>
    allowed && (
      <a
        class="button small"
        href={apiPath(`/sessions/${id}/${name}`)}
        download={`${id}.${name === "har" ? "har" : "pcapng"}`}
        title={title}
      >
        {text}
      </a>
    );
  return (
    <Panel
      title={T.session.http}
      hint={T.session.httpHint}
      call={`/sessions/${id}/transactions`}
      command={`clearline follow ${id}`}
      aside={
        <span class="aside">
          <button type="button" class="small" disabled={!allowed} title={title} onClick={() => void show()}>
            {T.session.showHttp}
          </button>
          <button
            type="button"
            class="small"
            disabled={!allowed}
            title={title}
            aria-pressed={isFollowing.value}
            onClick={() => {
              isFollowing.value = !isFollowing.value;
            }}
          >
            {isFollowing.value ? T.session.stop : T.session.follow}
          </button>
          {file("har", T.session.har)}
          {file("pcap", T.session.pcap)}
        </span>
      }
    >
      {problem.value && <Failure message={problem.value} />}
      {list.value &&
        (list.value.transactions.length === 0 ? (
          <Empty>{T.session.noHttp}</Empty>
        ) : (
          <Transactions of={list.value.transactions} />
        ))}
      {isFollowing.value && <Follow id={id} />}
    </Panel>
  );
}

function Transactions({ of }: { of: readonly TransactionInfo[] }) {
  return (
    <Table
      label={T.session.http}
      rows={of}
      keyOf={({ number }) => String(number)}
      columns={[
        { name: T.session.columns.time, of: ({ started }) => <Time at={started} /> },
        { name: T.session.columns.method, of: ({ method }) => method },
        { name: T.session.columns.url, of: ({ url }) => <code>{url}</code> },
        { name: T.session.columns.status, of: ({ status, state, problem }) => status ?? problem ?? state },
        {
          name: T.session.columns.type,
          of: ({ responseType, responseEncoding }) => [responseType, responseEncoding].filter(Boolean).join(", "),
        },
        { name: T.session.columns.sent, of: ({ requestBytes }) => bytes(requestBytes), isAmount: true },
        { name: T.session.columns.received, of: ({ responseBytes }) => bytes(responseBytes), isAmount: true },
        {
          name: T.session.columns.took,
          of: ({ started, ended }) => (ended === null ? "" : duration(ended - started)),
          isAmount: true,
        },
      ]}
    />
  );
}

/** Characters that stay in the page: what came first leaves first. */
const MOST_TEXT = 400_000;

function Follow({ id }: { id: string }) {
  const parts = useSignal<readonly ViewPart[]>([]);
  const isOver = useSignal(false);
  useEffect(() => {
    const stream = new EventSource(apiPath(`/sessions/${id}/follow`));
    let size = 0;
    stream.addEventListener("part", ({ data }) => {
      const part = JSON.parse(data as string) as ViewPart;
      size += part.text.length;
      const kept = [...parts.peek(), part];
      for (; size > MOST_TEXT && kept.length > 1; ) size -= kept.shift()!.text.length;
      parts.value = kept;
    });
    const end = () => {
      stream.close();
      isOver.value = true;
    };
    stream.addEventListener("end", end);
    // The view has nothing of the session, or the node does not answer.
    stream.addEventListener("error", end);
    return () => stream.close();
  }, [id, parts, isOver]);
  return (
    <pre class="follow" aria-live="off">
      {parts.value.map((part, index) => (
        <span key={`${part.exchange}-${index}`} class={`${part.from} ${part.kind}`}>
          {part.text}
        </span>
      ))}
      {isOver.value && <span class="view">{T.session.followOver}</span>}
    </pre>
  );
}
