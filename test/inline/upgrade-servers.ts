/** Real servers with STARTTLS or CONNECT, from Debian's packages, in a host of the lab. */
import { chmodSync, chownSync, globSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Host } from "../../lab/network.ts";
import type { Identity } from "../pki.ts";
import { must, type Program, scratch, until } from "../processes.ts";

/** The port of each server. */
export const UPGRADE_PORTS = {
  smtp: 25,
  pop3: 110,
  imap: 143,
  sieve: 4190,
  ftp: 21,
  ldap: 389,
  xmpp: 5222,
  postgresql: 5432,
  mysql: 3306,
  proxy: 3128,
  secureProxy: 3129,
} as const;

export const USER = "alice";
export const PASSWORD = "open-sesame";
export const MAIL_DOMAIN = "mail.clearline.test";
const SUFFIX = "dc=clearline,dc=test";
export const ADMIN = `cn=admin,${SUFFIX}`;

/** Where a server runs: in a host of the lab, or on this machine. */
export type Place = Pick<Host, "start" | "must">;

export interface UpgradeServer extends AsyncDisposable {
  /** The server's folder, which every user may enter. */
  readonly folder: string;
}

/** Resolves once the program listens at this port of the host. Rejects with its output if it ends before that. */
async function ready(on: Place, program: Program, port: number, folder: string): Promise<UpgradeServer> {
  const listening = until(
    `a listener at port ${port}`,
    async () => (await on.must("ss", ["-Htln"])).includes(`:${port} `),
    60_000,
  );
  let stopped = false;
  const over = program.ended.then(() => {
    if (!stopped) throw new Error(`The server for port ${port} ended:\n${program.output()}`);
  });
  await Promise.race([listening, over]);
  over.catch(() => {});
  return {
    folder,
    async [Symbol.asyncDispose]() {
      stopped = true;
      await program.stop();
    },
  };
}

function openScratch(): string {
  const folder = scratch();
  chmodSync(folder, 0o755);
  return folder;
}

/** Copies the key for a server that reads it after it has given up root. */
function keyFor(folder: string, identity: Identity, [uid, gid]: readonly [number, number]): Identity {
  const own = { certificate: join(folder, "tls.pem"), key: join(folder, "tls.key") };
  writeFileSync(own.certificate, readFileSync(identity.certificate));
  writeFileSync(own.key, readFileSync(identity.key), { mode: 0o600 });
  for (const file of [own.certificate, own.key]) chownSync(file, uid, gid);
  return own;
}

async function idsOf(user: string): Promise<readonly [number, number]> {
  const [uid, gid] = await Promise.all(["-u", "-g"].map((option) => must("id", [option, user])));
  return [Number(uid), Number(gid)];
}

/** Postfix, which delivers all mail for the domain into one Maildir. */
export async function postfix(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const [uid, gid] = await idsOf("postfix");
  const [config, queue, data, box] = ["config", "queue", "data", "box"].map((name) => join(folder, name)) as [
    string,
    string,
    string,
    string,
  ];
  for (const name of [config, queue, data, box]) mkdirSync(name);
  for (const name of [data, box]) chownSync(name, uid, gid);
  const services = [
    "pickup unix n - n 60 1 pickup",
    "cleanup unix n - n - 0 cleanup",
    "qmgr unix n - n 300 1 qmgr",
    "tlsmgr unix - - n 1000? 1 tlsmgr",
    "anvil unix - - n - 1 anvil",
    "rewrite unix - - n - - trivial-rewrite",
    "proxymap unix - - n - - proxymap",
    "virtual unix - n n - - virtual",
    ...["bounce", "defer"].map((name) => `${name} unix - - n - 0 bounce`),
    ...["error", "retry"].map((name) => `${name} unix - - n - - error`),
    "postlog unix-dgram n - n - 1 postlogd",
  ];
  writeFileSync(join(config, "master.cf"), [`${UPGRADE_PORTS.smtp} inet n - n - - smtpd`, ...services, ""].join("\n"));
  writeFileSync(
    join(config, "main.cf"),
    `compatibility_level = 3.6
queue_directory = ${queue}
data_directory = ${data}
mail_owner = postfix
myhostname = ${MAIL_DOMAIN}
mydestination =
inet_protocols = all
maillog_file = ${join(folder, "log")}
maillog_file_prefixes = ${folder}
virtual_mailbox_domains = ${MAIL_DOMAIN}
virtual_mailbox_base = ${folder}
virtual_mailbox_maps = static:box/
virtual_uid_maps = static:${uid}
virtual_gid_maps = static:${gid}
virtual_minimum_uid = 1
smtpd_tls_cert_file = ${identity.certificate}
smtpd_tls_key_file = ${identity.key}
smtpd_tls_security_level = may
smtpd_relay_restrictions = reject_unauth_destination
smtpd_peername_lookup = no
`,
  );
  await on.must("postfix", ["-c", config, "check"]);
  const program = on.start("/usr/lib/postfix/sbin/master", ["-c", config, "-d"], {
    env: { ...process.env, MAIL_CONFIG: config },
  });
  return ready(on, program, UPGRADE_PORTS.smtp, folder);
}

type DovecotPorts = Readonly<Record<"imap" | "pop3" | "sieve", number>>;

/** Dovecot: IMAP, POP3 and ManageSieve, with one user and an empty mailbox. A port of 0 closes a protocol. */
export async function dovecot(
  on: Place,
  identity: Identity,
  ports: DovecotPorts = UPGRADE_PORTS,
): Promise<UpgradeServer> {
  const folder = openScratch();
  const home = join(folder, "home");
  mkdirSync(home);
  const [uid, gid] = await idsOf("mail");
  chownSync(home, uid, gid);
  const file = join(folder, "dovecot.conf");
  writeFileSync(
    file,
    `protocols = imap pop3 sieve
base_dir = ${folder}/run
state_dir = ${folder}/state
log_path = ${folder}/log
ssl = required
ssl_cert = <${identity.certificate}
ssl_key = <${identity.key}
mail_location = maildir:${home}/Maildir
first_valid_uid = 1
passdb {
  driver = static
  args = user=${USER} password=${PASSWORD}
}
userdb {
  driver = static
  args = uid=${uid} gid=${gid} home=${home}
}
service imap-login {
  inet_listener imap { 
    port = ${ports.imap}
  }
  inet_listener imaps { 
    port = 0
  }
}
service pop3-login {
  inet_listener pop3 { 
    port = ${ports.pop3}
  }
  inet_listener pop3s { 
    port = 0
  }
}
service managesieve-login {
  inet_listener sieve { 
    port = ${ports.sieve}
  }
}
`.replaceAll("{ \n", "{\n"),
  );
  return ready(on, on.start("dovecot", ["-F", "-c", file]), ports.imap, folder);
}

/** vsftpd: anonymous, with what is in `files` to read. It asks for TLS on both connections. */
export async function vsftpd(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const empty = join(folder, "empty");
  const files = join(folder, "files");
  for (const name of [empty, files]) mkdirSync(name);
  const file = join(folder, "vsftpd.conf");
  const settings = {
    listen: "YES",
    listen_ipv6: "NO",
    background: "NO",
    anonymous_enable: "YES",
    anon_root: files,
    local_enable: "NO",
    no_anon_password: "YES",
    secure_chroot_dir: empty,
    ssl_enable: "YES",
    allow_anon_ssl: "YES",
    force_anon_data_ssl: "YES",
    force_anon_logins_ssl: "YES",
    // A data connection has to resume the control connection's session.
    require_ssl_reuse: "YES",
    // It asks clients for a certificate by default, and the node bypasses such a server from the second session on.
    ssl_request_cert: "NO",
    ssl_ciphers: "HIGH",
    rsa_cert_file: identity.certificate,
    rsa_private_key_file: identity.key,
    seccomp_sandbox: "NO",
  };
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([key, value]) => `${key}=${value}\n`)
      .join(""),
  );
  return ready(on, on.start("vsftpd", [file]), UPGRADE_PORTS.ftp, folder);
}

/** slapd, with one entry. */
export async function slapd(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const data = join(folder, "data");
  mkdirSync(data);
  const file = join(folder, "slapd.conf");
  writeFileSync(
    file,
    `include /etc/ldap/schema/core.schema
pidfile ${folder}/pid
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile ${identity.certificate}
TLSCertificateKeyFile ${identity.key}
database mdb
suffix "${SUFFIX}"
rootdn "${ADMIN}"
rootpw ${PASSWORD}
directory ${data}
`,
  );
  const entry = `dn: ${SUFFIX}\nobjectClass: dcObject\nobjectClass: organization\ndc: clearline\no: The secret organization\n`;
  await must("slapadd", ["-f", file], { input: entry });
  const url = `ldap://0.0.0.0:${UPGRADE_PORTS.ldap}/`;
  return ready(on, on.start("slapd", ["-d", "0", "-f", file, "-h", url]), UPGRADE_PORTS.ldap, folder);
}

/** Prosody, which accepts clients only after STARTTLS. */
export async function prosody(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const [uid, gid] = await idsOf("prosody");
  const data = join(folder, "data");
  mkdirSync(data);
  chownSync(data, uid, gid);
  const own = keyFor(folder, identity, [uid, gid]);
  const file = join(folder, "prosody.cfg.lua");
  writeFileSync(
    file,
    `data_path = "${data}"
pidfile = "${data}/pid"
modules_enabled = { "tls", "saslauth", "disco" }
modules_disabled = { "s2s" }
c2s_ports = { ${UPGRADE_PORTS.xmpp} }
c2s_require_encryption = true
authentication = "anonymous"
log = { info = "*console" }
ssl = { certificate = "${own.certificate}", key = "${own.key}" }
VirtualHost "${MAIL_DOMAIN}"
`,
  );
  chmodSync(file, 0o644);
  const program = on.start("setpriv", [
    ...[`--reuid=${uid}`, `--regid=${gid}`, "--clear-groups"],
    ...["prosody", "-F", "--config", file],
  ]);
  return ready(on, program, UPGRADE_PORTS.xmpp, folder);
}

/** PostgreSQL, which accepts every client over TLS and no other; for the database template1 it wants the password. */
export async function postgresql(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const ids = await idsOf("postgres");
  const data = join(folder, "data");
  mkdirSync(data);
  chownSync(data, ...ids);
  const own = keyFor(folder, identity, ids);
  const [programs = ""] = globSync("/usr/lib/postgresql/*/bin");
  const as = [`--reuid=${ids[0]}`, `--regid=${ids[1]}`, "--clear-groups"];
  const password = join(folder, "password");
  writeFileSync(password, PASSWORD);
  chownSync(password, ...ids);
  const made = ["-D", data, "-A", "trust", `--pwfile=${password}`, "--no-sync", "--no-instructions", "-U", USER];
  await must("setpriv", [...as, join(programs, "initdb"), ...made], { cwd: "/" });
  writeFileSync(join(data, "pg_hba.conf"), "hostssl template1 all all scram-sha-256\nhostssl all all all trust\n");
  const settings = {
    port: UPGRADE_PORTS.postgresql,
    listen_addresses: "*",
    unix_socket_directories: data,
    ssl: "on",
    ssl_cert_file: own.certificate,
    ssl_key_file: own.key,
    fsync: "off",
  };
  const options = Object.entries(settings).flatMap(([key, value]) => ["-c", `${key}=${value}`]);
  const program = on.start("setpriv", [...as, join(programs, "postgres"), "-D", data, ...options], { cwd: "/" });
  return ready(on, program, UPGRADE_PORTS.postgresql, folder);
}

/** MariaDB with one user, who must use TLS. */
export async function mariadb(on: Place, identity: Identity): Promise<UpgradeServer> {
  const folder = openScratch();
  const ids = await idsOf("mysql");
  const data = join(folder, "data");
  mkdirSync(data);
  chownSync(data, ...ids);
  const own = keyFor(folder, identity, ids);
  const quick = ["--no-defaults", `--datadir=${data}`, "--user=mysql", "--innodb-flush-log-at-trx-commit=0"];
  await must("mariadb-install-db", [...quick, "--skip-test-db", "--auth-root-authentication-method=socket"]);
  const init = join(folder, "init.sql");
  writeFileSync(init, `CREATE USER '${USER}'@'%' IDENTIFIED BY '${PASSWORD}' REQUIRE SSL;\n`);
  const program = on.start("mariadbd", [
    ...quick,
    ...[`--socket=${data}/socket`, `--pid-file=${data}/pid`, `--port=${UPGRADE_PORTS.mysql}`, "--skip-name-resolve"],
    ...[`--ssl-cert=${own.certificate}`, `--ssl-key=${own.key}`, `--init-file=${init}`],
  ]);
  return ready(on, program, UPGRADE_PORTS.mysql, folder);
}

/** tinyproxy, which asks for a password. */
export async function tinyproxy(on: Place): Promise<UpgradeServer> {
  const folder = openScratch();
  const file = join(folder, "tinyproxy.conf");
  const settings = [
    `Port ${UPGRADE_PORTS.proxy}`,
    "Timeout 60",
    "LogLevel Info",
    `BasicAuth ${USER} ${PASSWORD}`,
    "DisableViaHeader Yes",
  ];
  writeFileSync(file, `${settings.join("\n")}\n`);
  return ready(on, on.start("tinyproxy", ["-d", "-c", file]), UPGRADE_PORTS.proxy, folder);
}

/** socat in front of tinyproxy: a proxy over TLS. */
export async function secureProxy(on: Place, identity: Identity): Promise<UpgradeServer> {
  const tls = `OPENSSL-LISTEN:${UPGRADE_PORTS.secureProxy},fork,reuseaddr,verify=0`;
  const pair = `cert=${identity.certificate},key=${identity.key}`;
  const program = on.start("socat", [`${tls},${pair}`, `TCP:127.0.0.1:${UPGRADE_PORTS.proxy}`]);
  return ready(on, program, UPGRADE_PORTS.secureProxy, scratch());
}
