#!/bin/sh
# Ansible managed: starts a program of Java that trusts the authorities of a PEM file in addition to those of the image.
set -eu
java=$(readlink -f "$(command -v java)")
directory=${TMPDIR:-/tmp}/orchestration-authorities
rm -rf "$directory"
mkdir "$directory"
cp "${java%/bin/java}/lib/security/cacerts" "$directory/cacerts"
chmod u+w "$directory/cacerts"
# keytool reads one certificate of a file.
csplit --quiet --elide-empty-files --prefix="$directory/" "$1" '/-BEGIN CERTIFICATE-/' '{*}'
for file in "$directory"/[0-9]*; do
    grep -q -e '-BEGIN CERTIFICATE-' "$file" || continue
    keytool -importcert -noprompt -keystore "$directory/cacerts" -storepass changeit -alias "orchestration-${file##*/}" -file "$file"
done
shift
# The last one counts, so that an own option wins.
export JAVA_OPTS="-Djavax.net.ssl.trustStore=$directory/cacerts ${JAVA_OPTS:-}"
exec "$@"
