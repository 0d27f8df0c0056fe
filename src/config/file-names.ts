import { resolve } from "node:path";
import { defaultDataDir } from "./data-folder.ts";
import { feedRow } from "./feed.ts";
import { listenerRow } from "./listener.ts";
import type { Config, WrittenConfig } from "./schema.ts";
import { toolRow } from "./tool.ts";

/** Makes every file name absolute. They are relative to the configuration file, not to the folder that the node is started in. */
export function withAbsoluteFiles(written: WrittenConfig, folder: string): Config {
  const at = (name: string) => resolve(folder, name);
  /** The same group with the file names at these keys made absolute. */
  const files = <Group extends object>(group: Group, names: readonly (keyof Group)[]): Group => ({
    ...group,
    ...Object.fromEntries(
      names.flatMap((name) => (group[name] === undefined ? [] : [[name, at(String(group[name]))]])),
    ),
  });
  const { console, policy, trust, signing, keys, keyStore, dataDir, resumption } = written;
  const { listeners, tools, feeds, log, webhooks } = written;
  const pair = ["certificate", "key", "passphraseFile"] as const;
  const secret = ["passphraseFile", "keyFile"] as const;
  return {
    ...written,
    dataDir: dataDir === undefined ? defaultDataDir() : at(dataDir),
    trust: { ...trust, files: trust.files.map(at) },
    policy: {
      ...policy,
      lists: { bypass: policy.lists.bypass.map(at), decrypt: policy.lists.decrypt.map(at) },
      ...(policy.page && { page: files(policy.page, ["template"]) }),
    },
    console: {
      ...console,
      ...(console.tls && { tls: files(console.tls, pair) }),
      ...(console.oidc && { oidc: files(console.oidc, ["clientSecretFile", "trust"]) }),
    },
    signing: {
      ...signing,
      ...(signing.primary && { primary: files(signing.primary, pair) }),
      ...(signing.secondary && { secondary: files(signing.secondary, pair) }),
    },
    keys: keys.map((key) => files(key, [...pair, "pkcs12"])),
    keyStore: {
      ...files(keyStore, secret),
      ...(keyStore.former && { former: files(keyStore.former, secret) }),
    },
    resumption: files(resumption, ["secret"]),
    log: {
      ...log,
      targets: log.targets.map((target) => {
        if (target.kind === "file") return files(target, ["directory"]);
        return target.kind === "syslog" ? files(target, ["trust"]) : target;
      }),
    },
    webhooks: webhooks.map((hook) => files(hook, ["secret"])),
    listeners: listeners.map((listener) => listenerRow(listener).withFiles?.(listener, at) ?? listener),
    tools: tools.map((tool) => toolRow(tool).withFiles?.(tool, at) ?? tool),
    feeds: feeds.map((feed) => feedRow(feed).withFiles?.(feed, at) ?? feed),
  };
}
