import { SPECIAL } from "../../lab/scenarios.ts";
import { prove } from "../inline/prove.ts";

prove(SPECIAL.tools);
