const dir = process.argv[2]!;
const { compilePolicy } = await import(dir + "/src/policy/evaluate.ts");
const policy = compilePolicy({ default: "decrypt", versions: { min: "TLSv1.2", max: "TLSv1.3", belowMin: "bypass", aboveMax: "drop" }, lists: { bypass: [], decrypt: [] },
 rules: [{ name: "banks", match: { host: ["*.bank.example", "bank.example"] }, action: "bypass" }, { name: "printers", match: { client: ["198.51.100.0/24"] }, action: "drop" }], certificate: { expired: "drop", selfSigned: "drop", unknownIssuer: "drop", hostMismatch: "drop", invalid: "drop" }, clientCertificate: { action: "bypass", for: 1 } });
const certificate = { names: ["localhost", "127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5"], issuer: "CN=ca", faults: [] };
const facts = { listener: "bench", vlan: null, client: { address: "127.0.0.1", port: 4 }, connectHost: null, upgraded: false, server: { address: "127.0.0.1", port: 443 }, sni: "localhost", alpn: ["http/1.1"], versions: [0x304, 0x303], keyHeld: false, clientCertificateDemanded: false, channelBound: false, certificateRefused: false };
const l = () => ({ clientCertificateDemanded: false, channelBound: false, certificateRefused: false });
const t = (n: string, f: () => void) => { for (let i = 0; i < 3000; i++) f(); const c = process.cpuUsage(); for (let i = 0; i < 20000; i++) f(); const d = process.cpuUsage(c); console.log(n, ((d.user + d.system) / 20000).toFixed(2), "µs"); };
for (let r = 0; r < 2; r++) {
t("namesAlike", () => policy.namesAlike({ ...facts, certificate }, l));
t("onHello", () => policy.onHello(facts));
t("onCertificate", () => policy.onCertificate({ ...facts, certificate }));
t("verdictSoFar", () => policy.verdictSoFar(facts));
t("onNetwork", () => policy.onNetwork(facts));
}
