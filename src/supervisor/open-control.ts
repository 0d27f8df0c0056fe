import { join } from "node:path";
import { removeNodeFile } from "../config/data-folder.ts";
import { SIGNAL } from "../control/caller.ts";
import type { OidcOptions } from "../control/oidc.ts";
import type { Operations } from "../control/operations.ts";
import { type Control, startControl } from "../control/server.ts";
import { log } from "../log.ts";
import { announceAddress } from "./announce.ts";
import { apiCertificate } from "./api-certificate.ts";
import { connectionLimits } from "./capacity.ts";
import { apiUrl } from "./fleet-nodes.ts";
import { createOperations } from "./operations.ts";
import { createKeysReload, messagesOf, reload } from "./reload.ts";
import type { NodeState } from "./state.ts";

/** ms between two looks whether the API's certificate must be replaced. */
const LOOK_EVERY = 3_600_000;

/** Opens the API, tells the commands where it listens, and reloads on SIGHUP. `steps`: what a stop has to undo. */
export async function openControl(state: NodeState, steps: (() => unknown)[]): Promise<Control> {
  const { console, dataDir } = state.active.loaded.config;
  const shown = { certificate: await apiCertificate(state, Date.now()), at: Date.now() };

  /** The file may hold another certificate now, and another CA may sign. Sessions of the API go on with the one that they began with. */
  async function renewCertificate(): Promise<void> {
    const now = Date.now();
    const certificate = await apiCertificate(state, now);
    // Whether the API speaks TLS cannot change while it listens.
    if (!certificate || !shown.certificate) return;
    Object.assign(shown, { certificate, at: now });
    control.changeCertificate(certificate);
    announceAddress(dataDir, control);
  }

  const operations = createOperations(state, {
    async reload() {
      const reloaded = await reload(state);
      if (state.active.loaded.consoleTls) await renewCertificate();
      return reloaded;
    },
    reloadKeys: createKeysReload(state),
  });
  const { host, port } = console.address;
  const control = await startControl(operations, {
    host,
    port,
    certificate: shown.certificate,
    oidc: oidcOf(state),
    tokenFile: join(dataDir, "token"),
    connections: connectionLimits(state.resources),
    log,
  });
  state.renewed = renewCertificate;
  state.api = apiUrl(control);
  steps.push(() => control.close());
  announceAddress(dataDir, control);
  steps.push(() => removeNodeFile(dataDir));
  const look = setInterval(() => {
    const { certificate, at } = shown;
    if (!certificate || state.active.loaded.consoleTls) return;
    const middle = at + (certificate.notAfter - at) / 2;
    if (Date.now() > middle) renewCertificate().catch((error) => log.error({ error: String(error) }, NOT_RENEWED));
  }, LOOK_EVERY);
  steps.push(() => clearInterval(look), reloadOnHangUp(state, operations));
  return control;
}

/** As it is when the node starts; the roots of `trust` are those of the moment. */
function oidcOf(state: NodeState): OidcOptions | undefined {
  const { config, providerSecret, providerTrust } = state.active.loaded;
  if (!config.console.oidc) return undefined;
  const roots = () => (providerTrust ? [providerTrust.pem] : state.active.trust.roots);
  return { ...config.console.oidc, clientSecret: providerSecret, roots };
}

const NOT_RENEWED = "Cannot renew the API's certificate; it shows the one before";

/** Returns how to stop that. */
function reloadOnHangUp(state: NodeState, operations: Operations): () => void {
  const onHangUp = () => {
    const step = { caller: SIGNAL, address: null, action: "reload", subject: null } as const;
    state.audit
      .during(
        step,
        () => operations.reload(),
        ({ changes }) => changes.join("; "),
      )
      .catch((error) =>
        log.error({ errors: messagesOf(error) }, "Cannot reload; the node keeps the old configuration"),
      );
  };
  process.on("SIGHUP", onHangUp);
  return () => process.off("SIGHUP", onHangUp);
}
