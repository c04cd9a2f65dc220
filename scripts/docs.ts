// docs.ts: writes the generated documents.
import { join } from "node:path";

import { formatFlagsDocument } from "./lib/docs/format-flags.ts";

await Bun.write(join(import.meta.dir, "../docs/flags.md"), formatFlagsDocument());
