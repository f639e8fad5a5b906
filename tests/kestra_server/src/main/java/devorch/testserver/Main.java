package devorch.testserver;

import io.kestra.core.utils.VersionProvider;
import io.micronaut.context.ApplicationContext;
import io.micronaut.context.env.PropertySource;
import io.micronaut.runtime.server.EmbeddedServer;

import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CountDownLatch;

import lombok.extern.slf4j.Slf4j;

/**
 * Starts the test server: the engine that Kestra publishes, behind routes written here.
 * The order is Kestra's: credentials, database, engine, and only then an open port.
 */
@Slf4j
public final class Main {
    /** Above the environment and every file: the production configuration must not need a line for the tests. */
    private static final int OVERRIDING = 1000;

    private Main() {
    }

    public static void main(String[] arguments) throws InterruptedException {
        Options options;
        try {
            options = Options.parse(List.of(arguments));
        } catch (IllegalArgumentException e) {
            System.err.println(e.getMessage());
            System.exit(2);
            return;
        }
        log.warn("This is the TEST SERVER: Kestra's engine behind the routes of a test double, not Kestra's own web server.");
        if (options.hasConfig()) {
            System.setProperty("micronaut.config.files", options.config().toString());
        }
        ApplicationContext context = ApplicationContext.builder()
            .mainClass(Main.class)
            .banner(false)
            .propertySources(PropertySource.of("test-server", overrides(options), OVERRIDING))
            .start();
        Runtime.getRuntime().addShutdownHook(new Thread(context::close, "shutdown"));
        log.info("Kestra's engine: {}", context.getBean(VersionProvider.class).getVersion());
        try {
            context.getBean(Credentials.class).requireEmailAddress();
        } catch (IllegalArgumentException e) {
            // Observed: the main thread dies, another one keeps the process alive, and no port ever opens.
            log.error("{}", e.getMessage());
            new CountDownLatch(1).await();
        }
        if (!context.getBean(Postgres.class).open()) {
            System.exit(1);
        }
        if (options.runs()) {
            context.getBean(Engine.class).start(options.workerThreads());
        }
        EmbeddedServer server = context.getBean(EmbeddedServer.class).start();
        log.info("Server Running: {}", server.getURL());
    }

    /** The engine keeps its state in H2, beside the storage, so that it survives the container. */
    private static Map<String, Object> overrides(Options options) {
        Map<String, Object> overrides = new HashMap<>(Map.of(
            "datasources.postgres.enabled", false,
            "datasources.h2.url",
            "jdbc:h2:file:${kestra.storage.local.base-path}/.test-server/h2/kestra"
                + ";TIME ZONE=UTC;DB_CLOSE_ON_EXIT=FALSE;LOCK_TIMEOUT=30000",
            "kestra.server-type", options.component().toUpperCase(Locale.ROOT),
            "kestra.repository.type", "h2",
            "kestra.queue.type", "h2",
            // On a machine that is busy with tests a service may be late by more than an installation's setting allows,
            // and the engine ends a service that is late.
            "kestra.server.liveness.enabled", false,
            // Would look for plugins outside; the types of the tests are all in here.
            "kestra.plugins.auto-install.enabled", false
        ));
        if (options.port() != null) {
            overrides.put("micronaut.server.port", options.port());
        }
        return overrides;
    }
}
