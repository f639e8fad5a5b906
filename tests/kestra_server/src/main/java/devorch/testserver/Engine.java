package devorch.testserver;

import io.kestra.core.runners.Executor;
import io.kestra.core.runners.Indexer;
import io.kestra.core.runners.Scheduler;
import io.kestra.core.runners.Worker;
import io.kestra.core.server.Service;
import io.kestra.core.utils.ExecutorsUtils;
import io.kestra.core.worker.Controller;
import io.kestra.worker.systemworker.SystemWorker;
import io.micronaut.context.ApplicationContext;
import io.micronaut.health.HealthStatus;
import io.micronaut.management.health.indicator.HealthIndicator;
import io.micronaut.management.health.indicator.HealthResult;

import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.stream.Collectors;

import jakarta.inject.Singleton;
import org.reactivestreams.Publisher;
import reactor.core.publisher.Mono;

/**
 * Kestra's services in one process. They start in the order of {@code io.kestra.core.runners.TestRunner}
 * (module {@code io.kestra:tests}), which is that of {@code kestra server standalone}.
 */
@Singleton
class Engine implements HealthIndicator {
    private static final int SERVICES = 6;
    private static final int THREADS_PER_PROCESSOR = 8;
    private static final int POLL_MILLISECONDS = 50;

    private final ApplicationContext context;
    private final ExecutorsUtils executors;
    private final List<Service> services = new CopyOnWriteArrayList<>();

    Engine(ApplicationContext context, ExecutorsUtils executors) {
        this.context = context;
        this.executors = executors;
    }

    /** Starts the services and returns when all of them run. */
    void start(Integer workerThreads) throws InterruptedException {
        ExecutorService pool = executors.cachedThreadPool("standalone-runner");
        run(pool, context.getBean(Executor.class));
        Controller controller = context.getBean(Controller.class);
        services.add(controller);
        pool.execute(controller::start);
        Worker worker = context.getBean(Worker.class);
        services.add(worker);
        int threads = workerThreads != null ? workerThreads : THREADS_PER_PROCESSOR * Runtime.getRuntime().availableProcessors();
        pool.execute(() -> worker.start(threads));
        // It runs the tasks that only the server may run, such as the purges.
        SystemWorker system = context.getBean(SystemWorker.class);
        services.add(system);
        pool.execute(system::start);
        run(pool, context.getBean(Scheduler.class));
        run(pool, context.getBean(Indexer.class));
        while (!isRunning()) {
            Thread.sleep(POLL_MILLISECONDS);
        }
    }

    private <S extends Service & Runnable> void run(ExecutorService pool, S service) {
        services.add(service);
        pool.execute(service);
    }

    private boolean isRunning() {
        return services.size() == SERVICES && services.stream()
            .map(Service::getState)
            .allMatch(state -> state == Service.ServiceState.RUNNING || state == Service.ServiceState.MAINTENANCE);
    }

    @Override
    public Publisher<HealthResult> getResult() {
        Map<String, String> states = services.stream()
            .collect(Collectors.toMap(service -> service.getType().name(), service -> String.valueOf(service.getState())));
        // A web server has no services to wait for.
        return Mono.just(HealthResult.builder("engine", services.isEmpty() || isRunning() ? HealthStatus.UP : HealthStatus.DOWN).details(states).build());
    }
}
