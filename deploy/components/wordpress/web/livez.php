<?php
// Whether Apache and PHP answer. Never the database: restarting PHP does not mend it.
header('Content-Type: text/plain');
echo "alive\n";
