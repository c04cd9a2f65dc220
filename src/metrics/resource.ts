import { type Resource, resourceFromAttributes } from "@opentelemetry/resources";

import type { BuildInfo } from "../version.ts";

/** What every pushed metric and span says about this program (docs/contract.md §8). */
export function createResource(buildInfo: BuildInfo): Resource {
  return resourceFromAttributes({ "service.name": `opensandbox-ingress-${buildInfo.version}` });
}

export function emptyResource(): Resource {
  return resourceFromAttributes({});
}
