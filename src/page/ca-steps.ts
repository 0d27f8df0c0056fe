import { BUNDLE, PROFILE } from "./ca-files.ts";

/** How each platform comes to trust the CA: steps, and commands to copy. */
export interface Platform {
  readonly title: string;
  readonly steps: readonly string[];
  readonly commands?: readonly string[];
}

/** `names`: what the files of the single certificates are called, without their ending. */
export function platformsFor(names: readonly string[]): readonly Platform[] {
  const each = (command: (name: string) => string) => names.map(command);
  const files = names.map((name) => `${name}.crt`).join(", ");
  return [
    {
      title: "Windows",
      steps: [`Download ${files}. In PowerShell, as administrator, in the folder of the downloads:`],
      commands: each((name) => `Import-Certificate -FilePath ${name}.crt -CertStoreLocation Cert:\\LocalMachine\\Root`),
    },
    {
      title: "macOS",
      steps: [`Download ${files}. In the Terminal, in the folder of the downloads:`],
      commands: each(
        (name) => `sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain ${name}.crt`,
      ),
    },
    {
      title: "iPhone and iPad",
      steps: [
        `Open this page in Safari and download ${PROFILE}.`,
        "Settings, Profile Downloaded: install it.",
        "Settings, General, About, Certificate Trust Settings: switch on full trust for each Clearline CA.",
      ],
    },
    {
      title: "Android",
      steps: [
        `Download ${files}.`,
        "Settings, Security, Encryption & credentials, Install a certificate, CA certificate: choose each file.",
        "Chrome trusts it then. Other apps do so only if their makers allow it.",
      ],
    },
    {
      title: "Debian, Ubuntu",
      steps: ["The system's programs, curl, wget and git among them, trust it after:"],
      commands: [
        ...each((name) => `sudo cp ${name}.pem /usr/local/share/ca-certificates/${name}.crt`),
        "sudo update-ca-certificates",
      ],
    },
    {
      title: "Fedora, RHEL, Arch",
      steps: [],
      commands: [`sudo trust anchor ${BUNDLE}`],
    },
    {
      title: "Firefox",
      steps: [
        "Settings, Privacy & Security, Certificates, View Certificates, Authorities, Import: choose each .crt file and trust it for websites.",
        "On Windows and macOS Firefox also takes what the system trusts.",
      ],
    },
    {
      title: "Java",
      steps: [],
      commands: each(
        (name) => `keytool -importcert -cacerts -noprompt -storepass changeit -alias ${name} -file ${name}.pem`,
      ),
    },
    {
      title: "Python",
      steps: [
        "The file takes the place of the usual roots; where some hosts are not inspected, add it to a copy of those. For the ssl module, and for requests:",
      ],
      commands: [`export SSL_CERT_FILE=$PWD/${BUNDLE}`, `export REQUESTS_CA_BUNDLE=$PWD/${BUNDLE}`],
    },
    { title: "Node.js", steps: [], commands: [`export NODE_EXTRA_CA_CERTS=$PWD/${BUNDLE}`] },
    { title: "curl", steps: [], commands: [`curl --cacert ${BUNDLE} https://www.example.com/`] },
  ];
}
