import type { Config } from "../config/schema.ts";
import { ConfigError } from "../errors.ts";
import { namespaceOf } from "../kernel/tool/numbers.ts";
import { findAccount, hasAccount } from "../linux/accounts.ts";
import { type Capability, holdsCapability } from "../linux/capabilities.ts";
import type { Account } from "../linux/privileges.ts";
import { log } from "../log.ts";
import type { WorkerUser } from "../messages.ts";

/** The user that a package makes for the workers. */
const ACCOUNT = "clearline-worker";
/** Without that user: a number of Debian's and systemd's reserved range, which belongs to no account. */
const NOBODY_ELSE: Account = { uid: 65_530, gid: 65_530 };
/** To change a process's user, give it its folders, and end it. */
const REQUIRED: readonly Capability[] = ["CAP_SETUID", "CAP_SETGID", "CAP_CHOWN", "CAP_KILL"];

type NeedsOfWorkers = Pick<Config, "listeners" | "tools" | "feeds">;

/**
 * Decides which user the workers become, so that one that was taken over reaches neither the CA keys nor the supervisor.
 * Undefined: they stay the supervisor's user, because `workerUser` says so or the node cannot change users. Throws ConfigError
 * when the workers cannot become the user that `workerUser` names.
 */
export function chooseWorkerUser(config: NeedsOfWorkers & Pick<Config, "workerUser">): WorkerUser | undefined {
  const account = config.workerUser === undefined ? defaultAccount() : configuredAccount(config.workerUser);
  if (!account) return undefined;
  const namespaces = config.tools.flatMap((tool) => ("interfaceA" in tool ? [namespaceOf(tool)] : []));
  return { ...account, namespaces, capabilities: capabilitiesFor(config).filter(holdsCapability) };
}

function defaultAccount(): Account | undefined {
  const account = findAccount(ACCOUNT) ?? NOBODY_ELSE;
  const obstacle = obstacleTo(account);
  if (obstacle === undefined && account.uid !== process.geteuid?.()) return account;
  // For any other user this is as it should be.
  if (process.geteuid?.() === 0) log.warn(`The workers run as root, and can read the CA keys: ${obstacle}`);
  return undefined;
}

function configuredAccount(user: string | number): Account | undefined {
  const account = findAccount(user) ?? (typeof user === "number" ? { uid: user, gid: user } : undefined);
  if (!account) throw new ConfigError("workerUser", `workerUser is "${user}": this machine has no such user`);
  if (account.uid === process.geteuid?.()) return undefined;
  const obstacle = account.uid === 0 ? "workers must not be root" : obstacleTo(account);
  if (obstacle !== undefined)
    throw new ConfigError("workerUser", `Cannot run the workers as workerUser ${user}: ${obstacle}`);
  return account;
}

function obstacleTo(account: Account): string | undefined {
  const missing = REQUIRED.filter((name) => !holdsCapability(name));
  if (missing.length > 0) return `to change the user, the node needs ${missing.join(", ")}`;
  return hasAccount(account) ? undefined : `this container has no user ${account.uid} and group ${account.gid}`;
}

/** Throws ConfigError when the workers gave up a capability, as they started, that they would now need. */
export function checkWorkerRights(config: NeedsOfWorkers, user: WorkerUser | undefined): void {
  if (!user) return;
  const missing = capabilitiesFor(config).find((name) => !user.capabilities.includes(name) && holdsCapability(name));
  if (missing === undefined) return;
  const path = missing === "CAP_NET_RAW" ? `feeds[${config.feeds.findIndex(isOnInterface)}]` : "listeners";
  const why = `it needs ${missing}, which the workers gave up when they started`;
  throw new ConfigError(path, `Cannot reload: ${path} is new, and ${why}; start the node again`);
}

/** What the workers need, whatever this process has. */
function capabilitiesFor({ listeners, tools, feeds }: NeedsOfWorkers): Capability[] {
  const toInterfaces = feeds.some(isOnInterface);
  const inNetwork = listeners.some(({ mode }) => mode === "inline") || tools.some((tool) => "interfaceA" in tool);
  return [
    // Also for what a reload adds. Inline it is for clients that come from a low port.
    "CAP_NET_BIND_SERVICE",
    ...(toInterfaces ? (["CAP_NET_RAW"] as const) : []),
    // Transparent sockets, marks and NFQUEUE; the interface's own checksum offloading.
    ...(inNetwork || toInterfaces ? (["CAP_NET_ADMIN"] as const) : []),
  ];
}

function isOnInterface({ kind }: Config["feeds"][number]): boolean {
  return kind === "interface";
}
