import { SPECIAL } from "../../lab/scenarios.ts";
import { prove } from "./prove.ts";

prove(SPECIAL.masquerade);
