import { ConfigError } from "../errors.ts";

/**
 * Kernel errors are reported against the path `listeners` by default. Use this to report those of `act` against another path of the
 * configuration, such as `tools[0].addressA`. Undefined: the path stays.
 */
export function withErrorPath<T>(path: string | undefined, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (path === undefined || !(error instanceof ConfigError) || error.path !== "listeners") throw error;
    throw new ConfigError(path, `${error.message} (${path})`, { cause: error });
  }
}
