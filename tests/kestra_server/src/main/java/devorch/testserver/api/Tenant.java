package devorch.testserver.api;

/** The open-source edition has one tenant. */
final class Tenant {
    static final String MAIN = "main";

    private Tenant() {
    }
}
