import { globSync, readFileSync } from "node:fs";

/** Debian package to program, from the list that `scripts/peers.sh` reads too. */
const PROGRAMS = new Map(
  readFileSync(new URL("packages.txt", import.meta.url), "utf8")
    .split("\n")
    .filter((line) => line !== "" && !line.startsWith("#"))
    .map((line) => line.split(" ") as [string, string]),
);

/** The path of a package's program. Tests call it after `needs`. */
export function program(debianPackage: string): string {
  return locate(debianPackage) ?? debianPackage;
}

/** Test options that skip the test, naming the Debian packages it lacks. */
export function needs(...debianPackages: string[]): { skip: string | false } {
  const missing = debianPackages.filter((name) => locate(name) === undefined);
  return { skip: missing.length > 0 && `needs ${missing.join(", ")}` };
}

function locate(debianPackage: string): string | undefined {
  const pattern = PROGRAMS.get(debianPackage);
  if (pattern === undefined) throw new Error(`test/packages.txt does not name ${debianPackage}`);
  return globSync(pattern)[0];
}
