/**
 * The shapes of the REST API under /api/v1, as types inferred from the schemas. The CLI and the console know nothing else of
 * the node, and load no schema.
 */
import type { z } from "zod";
import type { Frozen } from "../sessions/record.ts";
import type { troubleList } from "../sessions/trouble.ts";
import type * as bypasses from "./bypass-schemas.ts";
import type { sessionExplanation } from "./explanation-schemas.ts";
import type * as previews from "./preview-schemas.ts";
import type * as schemas from "./schemas.ts";
import type * as node from "./stats-schemas.ts";

export type { ListenerCounters } from "../sessions/counters.ts";
export type { CertificateRecord, LegRecord, PresentedRecord, RevocationRecord, Session } from "../sessions/record.ts";

type Shape<Schema extends z.ZodType> = Frozen<z.output<Schema>>;

/** Any answer that is not 2xx. */
export type ApiError = Shape<typeof schemas.failure>;

/** GET /health: needs no token, so that any monitor may ask. */
export type Health = Shape<typeof node.health>;
/** The part that the node finds out anew each time. */
export type HealthReport = Stats["health"];
/** Why the node is less than ready, as who has the token reads it. */
export type HealthReason = HealthReport["reasons"][number];

/** GET /sessions */
export type SessionList = Shape<typeof schemas.sessionList>;
/** GET /fleet */
export type FleetNodes = Shape<typeof node.fleetNodes>;
export type FleetNodeInfo = FleetNodes["nodes"][number];
/** GET /fleet/sessions */
export type FleetSessions = Shape<typeof schemas.fleetSessions>;
/** An event of GET /events */
export type SessionEvents = Shape<typeof schemas.sessionEvents>;

/** GET /stats */
export type Stats = Shape<typeof node.stats>;
/** The part of GET /stats that is gathered anew each time. */
export type Statistics = Omit<Stats, "version" | "startedAt" | "health" | "sessions" | "counters" | "history">;
export type WorkerInfo = Stats["workers"][number];
export type FeedInfo = Stats["feeds"][number];
/** An inline tool. */
export type ToolInfo = Stats["tools"][number];
/** That a tool or feed failed, or worked again. */
export type HealthChange = ToolInfo["changes"][number];
/** The capacity, and whom the limits turned away. */
export type LimitInfo = Stats["limits"];
/** How far the workers are from the thresholds of `overload`. */
export type OverloadInfo = Stats["overload"];
export type KernelCount = Stats["kernel"][number];
export type HistoryInfo = Stats["history"];
/** The store that several nodes share. */
export type StoreInfo = NonNullable<Stats["store"]>;

/** GET /doctor */
export type DoctorReport = Shape<typeof node.doctorReport>;

/** GET /log */
export type LogList = Shape<typeof node.logList>;
export type LogLine = LogList["lines"][number];
/** An event of GET /log/events */
export type LogEvents = Shape<typeof node.logEvents>;

/** GET or POST /explain: what would happen to this flow? What is left out is not known. */
export type ExplainQuery = Shape<typeof schemas.flowWithCertificate>;
export type Explanation = Shape<typeof schemas.explanation>;
export type ExplainedEntry = Explanation["entries"][number];
/** GET /sessions/{id}/explanation */
export type SessionExplanation = Shape<typeof sessionExplanation>;
/** GET /policy */
export type PolicyOrder = Shape<typeof schemas.policyOrder>;
export type PolicyEntry = PolicyOrder["order"][number];

/** GET /lists */
export type ListInfos = Shape<typeof schemas.listInfos>;
export type ListInfo = ListInfos["lists"][number];

/** GET /trouble */
export type TroubleList = Shape<typeof troubleList>;
/** GET /report */
export type { Report } from "../sessions/report.ts";
/** GET /series */
export type { SeriesAnswer } from "../sessions/series.ts";
/** GET /top */
export type { TopList } from "../sessions/top.ts";
export type { TroubleRow } from "../sessions/trouble.ts";

/** GET /ca */
export type AuthorityInfo = Shape<typeof schemas.authority>;
export type AuthorityRole = AuthorityInfo["role"];

/** GET /keys: the certificates and keys of inbound servers; never the keys themselves. */
export type KeyInfo = Shape<typeof schemas.key>;
/** POST /keys */
export type NewKey = Shape<typeof schemas.newKey>;
/** POST /keys/generate */
export type NewKeyRequest = Shape<typeof schemas.newKeyRequest>;
export type GeneratedKey = Shape<typeof schemas.generatedKey>;

/** GET /suggestions */
export type SuggestionInfo = Shape<typeof schemas.suggestion>;
/** POST /policy/preview: what would a changed policy have decided? */
export type PreviewRequest = z.output<typeof previews.previewRequest>;
export type Preview = Shape<typeof previews.preview>;

/** GET /bypasses: bypasses with an end. */
export type BypassInfo = Shape<typeof bypasses.bypass>;
/** POST /bypasses */
export type AddedBypass = Shape<typeof bypasses.addedBypass>;
/** GET /caches */
export type CacheInfo = Shape<typeof schemas.cache>;

/** GET /tokens */
export type TokenInfo = Shape<typeof schemas.token>;
/** POST /tokens */
export type NewToken = Shape<typeof schemas.newToken>;
export type ShownToken = Shape<typeof schemas.shownToken>;

/** GET /login/ways */
export type LoginWays = Shape<typeof schemas.loginWays>;

/** GET /audit */
export type AuditList = Shape<typeof schemas.auditList>;
export type AuditEntry = AuditList["entries"][number];

/** GET /transactions, GET /sessions/{id}/transactions */
export type TransactionList = Shape<typeof schemas.transactionList>;
export type TransactionInfo = TransactionList["transactions"][number];
/** An event of GET /sessions/{id}/follow */
export type ViewPart = Shape<typeof schemas.viewPart>;
/** What is asked of the view that reads sessions as HTTP. */
export type ViewAsk =
  | {
      readonly of: "transactions";
      readonly session?: string;
      readonly host?: string | undefined;
      readonly limit: number;
    }
  | { readonly of: "har"; readonly session?: string; readonly host?: string | undefined; readonly bodies: boolean }
  | { readonly of: "pcap" | "follow"; readonly session: string };

/** POST /reload */
export type Reloaded = Shape<typeof schemas.reloaded>;
