import { ConfigError } from "../errors.ts";

/**
 * What the kernel refuses is told with the path `listeners`, for which most of it is done. What is done for another place in
 * the configuration, "tools[0].addressA", is done through this, and its errors name that place. Undefined: there is no other.
 */
export function onBehalfOf<T>(path: string | undefined, act: () => T): T {
  try {
    return act();
  } catch (error) {
    if (path === undefined || !(error instanceof ConfigError) || error.path !== "listeners") throw error;
    throw new ConfigError(path, `${error.message} (${path})`, { cause: error });
  }
}
