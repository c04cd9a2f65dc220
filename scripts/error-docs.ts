/** Writes docs/errors.md from the table of refusals. */
import { join } from "node:path";

import { formatErrorDocs } from "./lib/error-docs.ts";

await Bun.write(join(import.meta.dir, "../docs/errors.md"), formatErrorDocs());
