#!/usr/bin/env node
// For `node src/cli/main.ts` in a checkout. bin/clearline starts faster: it keeps what was compiled.
import "./start.ts";
