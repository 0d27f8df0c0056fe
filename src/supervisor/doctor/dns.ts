import { getServers, Resolver } from "node:dns/promises";
import { bad, type Finding, ok, warning } from "./check.ts";

/** RFC 2606. Any answer will do, also that there is no such name. */
const NAME = "example.com";
const PATIENCE = { timeout: 2_000, tries: 1 };
/** What a server says that works. */
const ANSWERS = ["ENOTFOUND", "ENODATA"];

/** Asks each of the system's DNS servers. `servers`: those of /etc/resolv.conf. */
export async function checkDns(servers = getServers()): Promise<Finding> {
  if (servers.length === 0) return bad("/etc/resolv.conf names no server", "Name one there: nameserver 192.0.2.53");
  const outcomes = await Promise.all(servers.map(ask));
  const failed = outcomes.filter((outcome) => outcome !== undefined);
  if (failed.length === 0) return ok(`${servers.join(", ")} ${servers.length === 1 ? "answers" : "answer"}`);
  const says = failed.join("; ");
  if (failed.length < servers.length)
    return warning(
      `Of ${servers.length} servers ${failed.length} failed: ${says}`,
      "Take them out of /etc/resolv.conf",
    );
  return bad(`No server answers: ${says}`, "Mend the way to it, or name another in /etc/resolv.conf");
}

/** Undefined: it answers. */
async function ask(server: string): Promise<string | undefined> {
  const resolver = new Resolver(PATIENCE);
  try {
    resolver.setServers([server]);
    await resolver.resolve4(NAME);
    return undefined;
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    return ANSWERS.includes(code) ? undefined : `${server}: ${code}`;
  }
}
